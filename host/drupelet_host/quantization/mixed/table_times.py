"""Looks up what each layer of a model takes on the target, in float and in int8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx

from drupelet_host.data.samples import Tensors
from drupelet_host.latency.modelled.layers import EngineName, LayerShape, Precision
from drupelet_host.latency.modelled.onnx_layers import read_graph_layers
from drupelet_host.latency.modelled.table import LatencyTable
from drupelet_host.onnx_files.graph import copy_model
from drupelet_host.quantization.layers import Layer
from drupelet_host.quantization.mixed.search import LayerTime

_ENGINE: EngineName = "onnxruntime"


def look_up_times(
    model: onnx.ModelProto, layers: Sequence[Layer], table: LatencyTable, *, sample: Tensors, name: str
) -> dict[str, LayerTime]:
    """Return the times of the layers on the target in ONNX Runtime at one thread, by the layer's name.

    Args:
        model: The float model.
        layers: From `find_layers`.
        table: The target's table.
        sample: The inputs of one inference, whose sizes count where the model leaves them open.
        name: The model's name for messages.

    Raises:
        ModelError: The model has an operator that the table does not know, or shapes that cannot be inferred.
    """
    shapes = read_graph_layers(copy_model(model), name=name, feed=sample)

    def add_up(layer: Layer, precision: Precision) -> float:
        return sum(table.layer_ms(shapes[node], _ENGINE, precision) for node in layer.nodes if node in shapes)

    return {
        layer.name: LayerTime(
            float_ms=add_up(layer, "float32"),
            int8_ms=add_up(layer, "int8"),
            conversion_ms=table.layer_ms(_conversion(layer, shapes), _ENGINE, "float32"),
        )
        for layer in layers
    }


def _conversion(layer: Layer, shapes: dict[str, LayerShape]) -> LayerShape:
    """The conversion of what a layer gives to the next one."""
    last = next(shapes[node] for node in reversed(layer.nodes) if node in shapes)
    return replace(
        last,
        kind="conversion",
        in_channels=last.out_channels,
        in_pixels=last.out_pixels,
        window=1,
        stride=1,
        groups=1,
        follows_convolution=False,
    )
