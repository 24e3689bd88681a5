"""Vibrations of a motor, made up: a healthy one hums at its speed, a worn one knocks, rattles or loses its balance.

The network learns from healthy vibrations alone and says for each window how unlike them it is; beyond a threshold the
device calls it an anomaly. Faults appear only in the validation samples, whose labels are 1 for a fault.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SAMPLES, RATE_HZ = 256, 2000

Array = npt.NDArray[np.float32]


def train() -> Array:
    """1500 windows of a healthy motor, (1500, 1, 256)."""
    random = np.random.default_rng(0)
    return np.stack([_healthy(random) for _ in range(1500)])


def validation() -> tuple[Array, npt.NDArray[np.int64]]:
    """400 windows, half of them of a worn motor."""
    random = np.random.default_rng(1)
    labels = np.arange(400) % 2
    windows = [_worn(random) if label else _healthy(random) for label in labels]
    return np.stack(windows), labels.astype(np.int64)


def _healthy(random: np.random.Generator) -> Array:
    time, speed = np.arange(SAMPLES) / RATE_HZ, random.uniform(28, 32)
    phase = random.uniform(0, 2 * np.pi)
    hum = sum(np.sin(2 * np.pi * speed * order * time + order * phase) / order for order in (1, 2, 3))
    return (0.4 * hum + 0.04 * random.normal(size=SAMPLES)).astype(np.float32)[None]


def _worn(random: np.random.Generator) -> Array:
    window, time = _healthy(random)[0].astype(np.float64), np.arange(SAMPLES) / RATE_HZ
    kind = random.integers(3)
    if kind == 0:
        for start in range(int(random.integers(0, 40)), SAMPLES - 12, 43):
            window[start : start + 12] += random.uniform(0.5, 1) * np.exp(-np.arange(12) / 3) * (-1) ** np.arange(12)
    elif kind == 1:
        window += random.uniform(0.2, 0.4) * np.sin(2 * np.pi * random.uniform(300, 700) * time)
    else:
        window *= 1 + random.uniform(0.8, 1.2) * np.sin(2 * np.pi * random.uniform(6, 10) * time)
    return window.astype(np.float32)[None]
