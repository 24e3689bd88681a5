"""Quantizes an ONNX file with NNCF; needs nncf and onnx, and nothing of this project."""

from __future__ import annotations

import sys

import nncf  # type: ignore[import-not-found]  # in the bench dependency group alone
import numpy as np
import onnx


def main() -> None:
    """Arguments: the model, the calibration inputs (NPZ), the result, the input's name."""
    source, samples, path, input_name = sys.argv[1:]
    inputs = np.load(samples)["inputs"]
    dataset = nncf.Dataset([inputs[row : row + 1] for row in range(len(inputs))], lambda row: {input_name: row})
    onnx.save(nncf.quantize(onnx.load(source), dataset, subset_size=len(inputs)), path)


if __name__ == "__main__":
    main()
