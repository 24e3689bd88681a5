"""Where models are trained: on a GPU where there is one, set up to compute the same each time."""

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
# What is left is for the model, its gradients and its activations.
_LARGEST_SHARE = 0.5
# cuBLAS repeats its results with this setting alone, https://docs.nvidia.com/cuda/cublas/#results-reproducibility
_CUBLAS_VARIABLE, _CUBLAS_SETTING = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


def choose_device(wanted: DeviceName) -> torch.device:
    """Return the device that training runs on; "auto" is the first GPU, or the CPU where PyTorch has none.

    Raises:
        ModelError: A GPU was asked for and there is none.
    """
    if wanted == "cpu":
        return CPU
    if torch.cuda.is_available():
        # Read when cuBLAS starts, which is later than this.
        os.environ.setdefault(_CUBLAS_VARIABLE, _CUBLAS_SETTING)
        return torch.device("cuda", 0)
    if wanted == "cuda":
        raise ModelError(f"device = 'cuda': PyTorch {torch.__version__} finds no GPU here; take 'auto' or 'cpu'")
    return CPU


def describe_device(device: torch.device) -> str:
    """Return the device in words, for reports; a GPU by its name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def device_of(model: nn.Module) -> torch.device:
    """Where the module's numbers are; the CPU for one that has none."""
    tensor = next((tensor for held in (model.parameters(), model.buffers()) for tensor in held), None)
    return CPU if tensor is None else tensor.device


@contextmanager
def on_device(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Within the block the module is on the device, and a GPU computes the same each time; then it is where it was."""
    before = device_of(model)
    with _repeatable(device):
        model.to(device)
        try:
            yield
        finally:
            model.to(before)


def use_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Return whether training computes in bfloat16 where that is safe; "auto" does on a GPU.

    On a CPU the time depends on the processor and on the widths: "auto" stays with float32, whose results are known.
    """
    return device.type == "cuda" if precision == "auto" else precision == "bfloat16"


def fits(size_bytes: int, device: torch.device) -> bool:
    """Return whether so many bytes may stay on the device and leave it room to work; the CPU holds them already."""
    if device.type != "cuda":
        return True
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return size_bytes <= free_bytes * _LARGEST_SHARE


@contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """Kernels that give the same each time where there are any; PyTorch warns of an operation that has none."""
    if device.type != "cuda":
        yield
        return
    enabled, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    fill = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # torch makes it when it is imported
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Only for finding reads of memory that nothing wrote; it costs a kernel for each tensor.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # as above
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=enabled, warn_only=warn_only)
        deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]  # as above
