"""A package whose inference takes some milliseconds of one core, and its requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from drupelet_shared.inference import Encoded, InferenceRequest, encode_request
from support.package.served_packages import make_keys, make_package, slow_model

MODEL = "work"
# 34 million operations each: 10 ms and more on the cores of today's workstations, several times that on a Pi.
_PRODUCTS = 24
_SIZE = 256


def work_onnx() -> bytes:
    """Return the model's file."""
    return slow_model(products=_PRODUCTS, size=_SIZE)


def make_work_package(folder: Path) -> tuple[Path, Path]:
    """Build the package in a folder; gives it and the public key that a device must trust."""
    keys = make_keys(folder)
    return make_package(folder, keys, name=MODEL, model=work_onnx()), keys.public


def work_request() -> Encoded:
    """Return one request, binary."""
    return encode_request(InferenceRequest(inputs={"image": np.full((1, 1, 8, 8), 0.5, np.float32)}), binary=True)
