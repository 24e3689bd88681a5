"""Writes a module of the compiler's benchmark as LiteRT files; runs in the environment of the extra litert-convert.

Arguments: the module as PyTorch saved it, the folder, and "peer" for what LiteRT's own tools make of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmarks.compiler.network import load_example
from benchmarks.compiler.setting import INPUT_SHAPE, OUTPUT_NAME
from benchmarks.target.noise import noise
from drupelet_host.export.litert import export_litert, quantize_litert


def main() -> None:
    """Write the float file, then the int8 one."""
    source, folder = map(Path, sys.argv[1:3])
    load_example()
    # The file is of our own making: a pickle can hold any code.
    model = torch.load(source, weights_only=False).eval()
    for_xnnpack = sys.argv[3:] != ["peer"]
    exported = folder / "float32.tflite"
    export_litert(model, INPUT_SHAPE, exported, output_names=(OUTPUT_NAME,), for_xnnpack=for_xnnpack)
    quantize_litert(exported, folder / "int8.tflite", calibration=noise(), for_xnnpack=for_xnnpack)


if __name__ == "__main__":
    main()
