"""Whether a module is one that can be compiled: weights that are numbers, answers that are the same each time."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from drupelet_host.errors import ModelError
from drupelet_host.recipe.user_errors import describe_user_error
from drupelet_host.torch_models.inputs import ModuleInputs, count_samples, run_module
from drupelet_host.torch_models.outputs import find_tensors, name_outputs

# Threads may add in another order; what draws random numbers differs by far more.
_SAME = 1e-4
_UNSUPPORTED = {
    torch.bfloat16: "bfloat16, with which ONNX Runtime, LiteRT and ncnn do not compute on a processor",
    torch.float64: "float64, in which ONNX Runtime, LiteRT and ncnn have no convolutions",
}


def check_parameters(model: nn.Module) -> None:
    """Check that every parameter is a finite number that engines compute with, and no buffer holds NaN.

    Raises:
        ModelError: One is not; the message names it.
    """
    for name, parameter in model.named_parameters():
        if parameter.dtype in _UNSUPPORTED:
            raise ModelError(
                f"model: parameter {name!r} is {_UNSUPPORTED[parameter.dtype]}: call .float() on the module in its "
                "factory"
            )
        if not bool(torch.isfinite(parameter).all()):
            raise ModelError(_describe(name, parameter, ~torch.isfinite(parameter)))
    for name, tensor in model.named_buffers():
        # Infinity in a buffer is a mask.
        if tensor.is_floating_point() and bool(torch.isnan(tensor).any()):
            raise ModelError(_describe(name, tensor, torch.isnan(tensor)))


def check_batches(model: nn.Module, samples: ModuleInputs) -> None:
    """Check that a module takes several samples at a time, and that its outputs have one row for each.

    Args:
        model: The module; it is left in evaluation mode.
        samples: A few samples, batch first; a single one tells nothing.

    Raises:
        ModelError: The module fails, or an output does not have the samples along its first axis.
    """
    count = count_samples(samples)
    if count == 1:
        return
    model.eval()
    try:
        with torch.inference_mode():
            returned = run_module(model, samples)
    except Exception as error:  # a user's module may raise anything
        raise ModelError(
            f"model does not take {count} samples at a time, as training needs: {describe_user_error(error)}; take the "
            "batch size in its forward from the inputs: inputs.shape[0]"
        ) from error
    for name, tensor in name_outputs(returned).items():
        if tensor.ndim == 0 or len(tensor) != count:
            raise ModelError(
                f"model's output {name!r} has shape {list(tensor.shape)} for {count} samples: expected the samples "
                "along the first axis; return it once for each sample, a constant as "
                "constant.expand(inputs.shape[0], ...)"
            )


def check_repeats_module(model: nn.Module, sample: ModuleInputs) -> None:
    """Check that a module gives the same answers to the same inputs.

    Args:
        model: The module; it is left in evaluation mode.
        sample: One sample, batch first.

    Raises:
        ModelError: It does not; the message names the first module that differs.
    """
    model.eval()
    first, second = (_run_all(model, sample) for _ in range(2))
    for (name, before), (_, after) in zip(first, second, strict=False):
        if before.shape != after.shape or not _are_close(before, after):
            where = f"module {name!r}" if name else f"the forward of {type(model).__name__}"
            raise ModelError(
                f"model gives other answers to the same inputs each time: {where} draws random numbers in evaluation "
                "mode; use modules such as nn.Dropout, which evaluation switches off, or pass self.training on"
            )


def _describe(name: str, tensor: torch.Tensor, wrong: torch.Tensor) -> str:
    what = "NaN" if bool(torch.isnan(tensor).any()) else "infinity"
    return (
        f"model: tensor {name!r} of shape {list(tensor.shape)} holds {what} at {int(wrong.sum())} of {tensor.numel()} "
        "values: take a checkpoint from before the training diverged"
    )


def _run_all(model: nn.Module, sample: ModuleInputs) -> list[tuple[str, torch.Tensor]]:
    """Return the first tensor that each module gave out, in the order of the run; the whole model's comes last."""
    seen: list[tuple[str, torch.Tensor]] = []
    hooks = [module.register_forward_hook(partial(_note, seen, name)) for name, module in model.named_modules()]
    try:
        with torch.inference_mode():
            run_module(model, sample)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _note(seen: list[tuple[str, torch.Tensor]], name: str, _module: nn.Module, _inputs: object, output: object) -> None:
    tensor = next((item for item in find_tensors(output) if item.is_floating_point()), None)
    if tensor is not None:
        seen.append((name, tensor.detach().clone()))


def _are_close(before: torch.Tensor, after: torch.Tensor) -> bool:
    size = float(before.nan_to_num().abs().max()) if before.numel() else 0.0
    return torch.allclose(before, after, rtol=0.0, atol=_SAME * (size or 1.0), equal_nan=True)
