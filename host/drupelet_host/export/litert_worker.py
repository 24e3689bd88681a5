"""The process in which LiteRT's converter and quantizer work.

They bring JAX along, print to both outputs and warn as they are imported; the compile itself sees none of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from drupelet_host.recipe.schema import INPUT_NAME


def export(program_path: Path, path: Path) -> None:
    """Convert a `torch.export` program, its example inputs included, to a `.tflite` file."""
    import litert_torch  # noqa: PLC0415 - only this command needs it
    import torch  # noqa: PLC0415 - only this command needs it

    program = torch.export.load(program_path)
    args, kwargs = program.example_inputs
    litert_torch.convert(program.module(), args, kwargs).export(str(path))


def quantize(source: Path, calibration_path: Path, path: Path) -> None:
    """Write a float `.tflite` file as static int8; the inputs and outputs stay float."""
    from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe  # noqa: PLC0415 - only this command needs it
    from ai_edge_quantizer.algorithm_manager import AlgorithmName  # noqa: PLC0415 - only this command needs it
    from ai_edge_quantizer.recipe_manager import RecipeManager  # noqa: PLC0415 - only this command needs it
    from ai_edge_quantizer.utils.qsv_utils import min_max_update  # noqa: PLC0415 - only this command needs it

    manager = RecipeManager()
    manager.load_quantization_recipe(recipe.static_wi8_ai8())
    for edge in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        manager.add_quantization_config(regex=".*", operation_name=edge, algorithm_key=AlgorithmName.NO_QUANTIZE)
    # The default is a moving average, which clips what the first samples do not show.
    observer = calibrator.Calibrator(str(source), num_threads=1, qsv_update_func=min_max_update)
    samples = [{INPUT_NAME: sample[None]} for sample in np.load(calibration_path)]
    (signature,) = observer.get_signature_list()
    observer.calibrate({signature: samples}, manager)
    made = quantizer.Quantizer(str(source), manager.get_quantization_recipe())
    path.write_bytes(made.quantize(observer.get_model_qsvs(), enable_progress_report=False).quantized_model)


def main() -> None:
    """Do what the command line says; an exception's last line is the message for the parent process."""
    parser = argparse.ArgumentParser(prog="python -m drupelet_host.export.litert_worker", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    exporting = commands.add_parser("export")
    exporting.add_argument("program", type=Path)
    exporting.add_argument("output", type=Path)
    quantizing = commands.add_parser("quantize")
    quantizing.add_argument("source", type=Path)
    quantizing.add_argument("calibration", type=Path)
    quantizing.add_argument("output", type=Path)
    options = parser.parse_args()
    if options.command == "export":
        export(options.program, options.output)
    else:
        quantize(options.source, options.calibration, options.output)


if __name__ == "__main__":
    main()
