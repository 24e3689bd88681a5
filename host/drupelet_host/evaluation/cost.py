"""What a model costs by counting: parameters and multiply-accumulates."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

_FLOPS_PER_MAC = 2
_FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
}


def count_parameters(model: nn.Module) -> int:
    """How many trainable numbers the module has."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, example_input: torch.Tensor) -> int:
    """Multiply-accumulates of convolutions and matrix products in one forward pass."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(example_input)
    return int(counter.get_total_flops()) // _FLOPS_PER_MAC


def count_file_parameters(path: Path) -> int:
    """How many floating-point numbers an ONNX file carries as weights."""
    graph = onnx.load(path).graph
    return sum(math.prod(tensor.dims) for tensor in graph.initializer if tensor.data_type in _FLOATS)
