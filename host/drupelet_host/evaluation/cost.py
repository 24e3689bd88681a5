"""Counts a model's parameters and multiply-accumulates."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from drupelet_host.torch_models.inputs import ModuleInputs, run_module

_FLOPS_PER_MAC = 2
_FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
}


def count_parameters(model: nn.Module) -> int:
    """Count the values of a module's trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, example_input: ModuleInputs) -> int:
    """Count the multiply-accumulates of convolutions and matrix products in one forward pass."""
    counter = FlopCounterMode(display=False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        # The counter cannot follow a parameter that a module hands to another while it needs a gradient.
        for parameter in trained:
            parameter.requires_grad = False
        with torch.no_grad(), counter:
            run_module(model, example_input)
    finally:
        for parameter in trained:
            parameter.requires_grad = True
    return int(counter.get_total_flops()) // _FLOPS_PER_MAC


def count_file_parameters(path: Path) -> int:
    """Count the floating-point values among an ONNX file's weights."""
    graph = onnx.load(path).graph
    return sum(math.prod(tensor.dims) for tensor in graph.initializer if tensor.data_type in _FLOATS)
