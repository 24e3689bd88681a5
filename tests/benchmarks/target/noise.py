"""Inputs for networks whose answers do not count."""

from __future__ import annotations

import numpy as np

from benchmarks.compiler.setting import INPUT_NAME, INPUT_SHAPE, SEED
from drupelet_host.data.samples import Tensors

_SAMPLES = 8


def noise() -> list[Tensors]:
    """Return a few seeded inputs to calibrate with."""
    generator = np.random.default_rng(SEED)
    return [{INPUT_NAME: generator.standard_normal(INPUT_SHAPE).astype(np.float32)} for _ in range(_SAMPLES)]
