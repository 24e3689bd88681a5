"""Marks between inferences, which the counting plugin sees."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

from drupelet_shared.engines.files import model_size_bytes

# As deploy/emulator/count_instructions.c knows it.
_MARK = 0x4452
# The first inference allocates, the second may still pack weights. The interpreter specialises its byte code a few
# calls later, which moves the count by about 2,000: too much for a small model and nothing for a large one.
_WARMUP, _WARMUP_SMALL = 2, 16
_SMALL_BYTES = 2**20


def mark_inferences(infer: Callable[[], object], *, model: Path, runs: int, done: int = 0) -> None:
    """Warm up, then mark before each of `runs` inferences and after the last; `done` have gone before."""
    mark = ctypes.CDLL(None).getpriority
    for _ in range((_WARMUP_SMALL if model_size_bytes(model) < _SMALL_BYTES else _WARMUP) - done):
        infer()
    # A collection would land in whichever inference comes next.
    gc.disable()
    for number in range(runs):
        mark(_MARK, number)
        infer()
    mark(_MARK, runs)
