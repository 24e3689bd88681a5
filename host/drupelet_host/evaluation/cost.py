"""What a PyTorch module costs by counting: parameters and multiply-accumulates."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

_FLOPS_PER_MAC = 2


def count_parameters(model: nn.Module) -> int:
    """How many trainable numbers the module has."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, example_input: torch.Tensor) -> int:
    """Multiply-accumulates of convolutions and matrix products in one forward pass."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(example_input)
    return int(counter.get_total_flops()) // _FLOPS_PER_MAC
