"""Writes a network as LiteRT files, float and int8; runs in the environment of the extra litert-convert.

Arguments: the network, the folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ai_edge_quantizer import quantizer, recipe

from benchmarks.engines.networks import CALIBRATION_IMAGES, INPUT_SHAPE, build, images
from drupelet_host.export.litert import export_litert, quantize_litert
from drupelet_host.recipe.model import INPUT_NAME


def main() -> None:
    """Make the three files, the float one first."""
    network, folder = sys.argv[1], Path(sys.argv[2])
    path = folder / "float32.tflite"
    export_litert(build(network), INPUT_SHAPE, path)
    calibration = [{INPUT_NAME: image[None]} for image in images(CALIBRATION_IMAGES)]
    quantize_litert(path, folder / "static-int8.tflite", calibration=calibration)
    dynamic = quantizer.Quantizer(str(path), recipe.dynamic_wi8_afp32())
    (folder / "dynamic-int8.tflite").write_bytes(dynamic.quantize(enable_progress_report=False).quantized_model)


if __name__ == "__main__":
    main()
