"""Distillation losses: the difference of a pruned model's outputs from the original's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

from drupelet_host.errors import ModelError
from drupelet_host.evaluation.channel_groups import find_groups

_SCORES_RANK = 2
_SMALLEST_VARIANCE = 1e-6

Outputs = Mapping[str, torch.Tensor]


def is_scores(outputs: Outputs) -> bool:
    """Return whether a model has one output of shape (batch, classes), as a classifier does."""
    shapes = [tuple(tensor.shape) for tensor in outputs.values()]
    return len(shapes) == 1 and len(shapes[0]) == _SCORES_RANK and shapes[0][1] > 1


def check_alike(outputs: Outputs, teacher: Outputs) -> None:
    """Check that a module in training mode returns what the original returned in evaluation mode.

    Args:
        outputs: The student's outputs.
        teacher: The original's for the same samples.

    Raises:
        ModelError: Names or shapes differ.
    """
    trained, evaluated = ({name: tuple(tensor.shape) for name, tensor in each.items()} for each in (outputs, teacher))
    if trained != evaluated:
        raise ModelError(
            f"the model returns {_describe(trained)} in training mode and {_describe(evaluated)} in evaluation mode: "
            "expected the same outputs, for the pruned model learns from the original's; let `forward` return them in "
            "both modes, or set prune.prune_ratio = 0"
        )


def imitation_loss(
    outputs: Outputs,
    *,
    teacher: Outputs,
    labels: torch.Tensor | None,
    temperature: float,
    weight: float,
    error_weights: Outputs | None = None,
) -> torch.Tensor:
    """Compute the loss of a student: soft targets and labels for a classifier's scores, else the squared error.

    Args:
        outputs: The student's outputs, by name.
        teacher: The teacher's outputs.
        labels: Class indices; None without labels.
        temperature: As in `distillation_loss`.
        weight: As in `distillation_loss`.
        error_weights: From `weigh_errors`; without them each output is one group of channels.

    Returns:
        The loss. A squared error is divided by the variance of the teacher's output, in each group of channels.

    Raises:
        ModelError: No output is a floating-point tensor.
    """
    if is_scores(outputs):
        (name,) = outputs
        return distillation_loss(
            outputs[name], teacher=teacher[name], labels=labels, temperature=temperature, weight=weight
        )
    known = error_weights or {}
    errors = [
        _relative_error(outputs[name], target, known.get(name))
        for name, target in teacher.items()
        if target.is_floating_point()
    ]
    if not errors:
        raise ModelError(
            f"outputs {', '.join(outputs)}: expected at least one of floating-point numbers for a pruned model "
            "to learn from; let the model return its scores, or set prune.prune_ratio = 0"
        )
    return torch.stack(errors).mean()


def distillation_loss(
    scores: torch.Tensor, *, teacher: torch.Tensor, labels: torch.Tensor | None, temperature: float, weight: float
) -> torch.Tensor:
    """Compute the loss from soft targets and labels.

    Method: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.

    Args:
        scores: The student's scores, shape (batch, classes).
        teacher: The teacher's scores.
        labels: Class indices; without labels only the teacher counts.
        temperature: The temperature of both distributions; the loss is multiplied by its square, which preserves the
            size of gradients.
        weight: The weight of the teacher's part, 0 to 1.

    Returns:
        The loss, a scalar.
    """
    soft = functional.kl_div(
        functional.log_softmax(scores / temperature, dim=1),
        functional.log_softmax(teacher / temperature, dim=1),
        log_target=True,
        reduction="batchmean",
    )
    soft = soft * temperature**2
    if labels is None:
        return soft
    return weight * soft + (1 - weight) * functional.cross_entropy(scores, labels)


def weigh_errors(answers: Outputs) -> dict[str, torch.Tensor]:
    """Return what each channel's squared error is multiplied by, so that every group of channels counts alike.

    A detector that merges boxes in pixels and scores from 0 to 1 in one output would otherwise learn its boxes alone.

    Args:
        answers: The original's outputs by name, of shape (samples, ...).

    Returns:
        For each output with channels of unlike ranges a tensor that can be broadcast to it.
    """
    weights = {}
    for name, values in answers.items():
        groups = find_groups([values.numpy()]) if values.is_floating_point() else ()
        axis = groups[0].axis if groups else None
        if axis is None:
            continue
        own = [group for group in groups if group.axis == axis]
        channels = torch.empty(values.shape[axis])
        for group in own:
            chosen = torch.tensor(group.channels)
            variance = values.index_select(axis, chosen).var(unbiased=False).clamp_min(_SMALLEST_VARIANCE)
            channels[chosen] = len(channels) / (len(own) * len(chosen) * variance)
        weights[name] = channels.view([-1 if dim == axis else 1 for dim in range(values.ndim)])
    return weights


def _describe(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name!r} {list(shape)}" for name, shape in shapes.items())


def _relative_error(output: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    if weights is not None:
        return ((output - target).square() * weights).mean()
    return (output - target).square().mean() / target.var(unbiased=False).clamp_min(_SMALLEST_VARIANCE)
