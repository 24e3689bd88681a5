"""Tasks for tests of compute backends: top-level functions, as workers import them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from drupelet_host.errors import ExportError


def add(first: int, second: int) -> int:
    return first + second


def scale(values: np.ndarray, factor: float) -> np.ndarray:
    return values * factor


def count_threads() -> int:
    return torch.get_num_threads()


def process_id() -> int:
    return os.getpid()


def fail(text: str) -> None:
    raise ExportError(text)


def fail_slowly(text: str) -> None:
    time.sleep(0.3)
    raise ExportError(text)


def die_at_first(folder: Path) -> str:
    """End the process without a word, unless that has been done before."""
    marker = folder / "died"
    if marker.exists():
        return "done"
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return "unreachable"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_ever(folder: Path) -> None:
    """Note the process, start one more, and never end."""
    child = os.fork()
    if child == 0:
        time.sleep(3600)
        os._exit(0)
    partial = folder / f"{os.getpid()}.partial"
    partial.write_text(f"{os.getpid()} {child}")
    partial.rename(folder / f"{os.getpid()}.running")
    time.sleep(3600)


def convolve(weights: torch.Tensor, images: torch.Tensor) -> bytes:
    """The bits of a gradient, which depend on the number of threads."""
    weights = weights.clone().requires_grad_(requires_grad=True)
    torch.nn.functional.conv2d(images, weights).square().mean().backward()
    assert weights.grad is not None
    return weights.grad.numpy().tobytes()


def call(function: Callable[[int], int], value: int) -> int:
    """Call a function that travelled with the task."""
    return function(value)
