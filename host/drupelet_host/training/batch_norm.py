"""Re-estimates batch-norm statistics after pruning."""

from __future__ import annotations

import torch
from torch import nn

from drupelet_host.torch_models.device import device_of
from drupelet_host.torch_models.inputs import (
    ModuleInputs,
    count_samples,
    map_inputs,
    run_module,
    split_inputs,
    take_samples,
)

_BATCH = 256
_MAX_SAMPLES = 2048


def reestimate_statistics(model: nn.Module, inputs: ModuleInputs) -> None:
    """Recompute running means and variances on training inputs, in place; the model is left in evaluation mode.

    Removing channels shifts the inputs of later layers, so that the old statistics no longer describe them. The plain
    average over a few batches recovers most of the metric (Li et al., "EagleEye", 2020).
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001 - torch has no public base
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    device, samples = device_of(model), take_samples(inputs, slice(_MAX_SAMPLES))
    with torch.no_grad():
        for batch in split_inputs(samples, _BATCH):
            # A single sample has no variance.
            if count_samples(batch) > 1:
                run_module(model, map_inputs(batch, lambda values: values.to(device)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
