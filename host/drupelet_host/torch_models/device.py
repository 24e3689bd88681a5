"""Chooses the device that trains, a GPU where there is one, and makes its results reproducible."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils import deterministic

from drupelet_host.errors import ModelError
from drupelet_host.recipe.schema import DeviceName, Precision

__all__ = ["CPU", "choose_device", "describe_device", "device_of", "fits", "on_device", "use_bfloat16"]

CPU = torch.device("cpu")
# The rest of the memory is for the model, its gradients and its activations.
_LARGEST_SHARE = 0.5
# cuBLAS results are reproducible only with this setting, https://docs.nvidia.com/cuda/cublas/#results-reproducibility
_CUBLAS_VARIABLE, _CUBLAS_SETTING = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


def choose_device(name: DeviceName) -> torch.device:
    """Return the device that training runs on; "auto" is the first GPU, or the CPU where PyTorch has none.

    Raises:
        ModelError: The recipe requires a GPU and there is none.
    """
    if name == "cpu":
        return CPU
    if torch.cuda.is_available():
        # cuBLAS reads it when it starts, which happens later.
        os.environ.setdefault(_CUBLAS_VARIABLE, _CUBLAS_SETTING)
        return torch.device("cuda", 0)
    if name == "cuda":
        raise ModelError(f"device = 'cuda': PyTorch {torch.__version__} finds no GPU here; take 'auto' or 'cpu'")
    return CPU


def describe_device(device: torch.device) -> str:
    """Return a description of the device for reports; a GPU's product name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a module's parameters; the CPU for a module without parameters."""
    tensor = next((tensor for held in (model.parameters(), model.buffers()) for tensor in held), None)
    return CPU if tensor is None else tensor.device


@contextmanager
def on_device(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Move the module to the device, with reproducible results, while the block runs; move it back afterwards."""
    before = device_of(model)
    with _repeatable(device):
        model.to(device)
        try:
            yield
        finally:
            model.to(before)


def use_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Return whether training computes in bfloat16 where that is safe; "auto" does on a GPU.

    On a CPU the speed depends on the processor and on layer widths, so "auto" stays with float32 there.
    """
    return device.type == "cuda" if precision == "auto" else precision == "bfloat16"


def fits(size_bytes: int, device: torch.device) -> bool:
    """Return whether data of this size may stay on the device and leave enough memory; always true on the CPU."""
    if device.type != "cuda":
        return True
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return size_bytes <= free_bytes * _LARGEST_SHARE


@contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """Use deterministic kernels while the block runs; PyTorch warns of an operation that has none."""
    if device.type != "cuda":
        yield
        return
    enabled, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    fill = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # torch sets it at import time
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Only useful to find reads of uninitialised memory; it costs one kernel for each tensor.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # as above
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=enabled, warn_only=warn_only)
        deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]  # as above
