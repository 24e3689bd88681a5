"""Re-estimates batch-norm statistics after pruning."""

from __future__ import annotations

import torch
from torch import nn

from drupelet_host.data.dataset import Inputs
from drupelet_host.torch_models.device import device_of

_BATCH = 256
_MAX_SAMPLES = 2048


def reestimate_statistics(model: nn.Module, inputs: Inputs | torch.Tensor) -> None:
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
    device, samples = device_of(model), torch.as_tensor(inputs[:_MAX_SAMPLES])
    with torch.no_grad():
        for batch in torch.split(samples, _BATCH):
            # A single sample has no variance.
            if len(batch) > 1:
                model(batch.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
