"""Child process that runs LiteRT's converter and quantizer.

Both import JAX, print to standard output and error, and warn at import time; a process of their own isolates the
compile from that.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from drupelet_host.export.xnnpack_rewriting import rewrite_for_xnnpack
from drupelet_host.latency.modelled.pixel_groups import INT8_LANES


def export(program_path: Path, path: Path) -> None:
    """Convert a `torch.export` program that was saved with its example inputs to a `.tflite` file."""
    import litert_torch  # noqa: PLC0415 - only this command needs it
    import torch  # noqa: PLC0415 - only this command needs it

    program = torch.export.load(program_path)
    args, kwargs = program.example_inputs
    litert_torch.convert(program.module(), args, kwargs).export(str(path))


def quantize(source: Path, calibration_path: Path, path: Path, *, for_xnnpack: bool) -> None:
    """Quantize a float `.tflite` file to static int8; the inputs and outputs stay float.

    Args:
        source: The float model.
        calibration_path: An NPZ file with an array for each input, of shape (samples, batch, ...).
        path: The file to write.
        for_xnnpack: Whether the graph is rewritten before.
    """
    from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe  # noqa: PLC0415 - only this command needs it
    from ai_edge_quantizer.algorithm_manager import AlgorithmName  # noqa: PLC0415 - only this command needs it
    from ai_edge_quantizer.recipe_manager import RecipeManager  # noqa: PLC0415 - only this command needs it
    from ai_edge_quantizer.utils.qsv_utils import min_max_update  # noqa: PLC0415 - only this command needs it

    content = source.read_bytes()
    model = rewrite_for_xnnpack(content, lanes=INT8_LANES) if for_xnnpack else content
    manager = RecipeManager()
    manager.load_quantization_recipe(recipe.static_wi8_ai8())
    for edge in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        manager.add_quantization_config(regex=".*", operation_name=edge, algorithm_key=AlgorithmName.NO_QUANTIZE)
    # The default is a moving average, which clips values larger than those in the first samples.
    observer = calibrator.Calibrator(model, num_threads=1, qsv_update_func=min_max_update)
    with np.load(calibration_path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    count = len(next(iter(arrays.values())))
    samples = [{name: values[row] for name, values in arrays.items()} for row in range(count)]
    (signature,) = observer.get_signature_list()
    observer.calibrate({signature: samples}, manager)
    converter = quantizer.Quantizer(model, manager.get_quantization_recipe())
    path.write_bytes(converter.quantize(observer.get_model_qsvs(), enable_progress_report=False).quantized_model)


def main() -> None:
    """Run one command; the parent process reports the last line of an exception's traceback."""
    parser = argparse.ArgumentParser(prog="python -m drupelet_host.export.litert_worker", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    export_parser = commands.add_parser("export")
    export_parser.add_argument("program", type=Path)
    export_parser.add_argument("output", type=Path)
    for command in ("quantize", "quantize-as-is"):
        quantize_parser = commands.add_parser(command)
        quantize_parser.add_argument("source", type=Path)
        quantize_parser.add_argument("calibration", type=Path)
        quantize_parser.add_argument("output", type=Path)
    options = parser.parse_args()
    if options.command == "export":
        export(options.program, options.output)
    else:
        for_xnnpack = options.command == "quantize"
        quantize(options.source, options.calibration, options.output, for_xnnpack=for_xnnpack)


if __name__ == "__main__":
    main()
