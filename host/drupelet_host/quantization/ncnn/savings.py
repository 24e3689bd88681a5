"""Looks up what int8 saves on the target in each layer of an ncnn model."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from drupelet_host.errors import ModelError
from drupelet_host.latency.modelled.layers import EngineName
from drupelet_host.latency.modelled.ncnn_layers import read_ncnn_layers
from drupelet_host.latency.modelled.table import LatencyTable
from drupelet_host.quantization.ncnn.static import NcnnCalibrated

log = logging.getLogger(__name__)

_ENGINE: EngineName = "ncnn"


def look_up_savings(calibrated: NcnnCalibrated, table: LatencyTable | None) -> dict[str, float] | None:
    """Return the milliseconds that each layer saves in int8, negative where int8 is slower, by the layer's name.

    Args:
        calibrated: The float32 model.
        table: The target's table.

    Returns:
        The savings, or None without a table or for a model with a layer that it does not know.
    """
    if table is None:
        return None
    try:
        shapes = {shape.name: shape for shape in read_ncnn_layers(calibrated.source)}
    except ModelError as error:
        log.debug("layers are ranked by their errors alone reason=%s", error)
        return None
    return {
        layer.name: table.layer_ms(shapes[layer.name], _ENGINE, "float32")
        - table.layer_ms(shapes[layer.name], _ENGINE, "int8")
        for layer in calibrated.layers
        if layer.name in shapes
    }


def rank_by_worth(errors: Mapping[str, float], saved_ms: Mapping[str, float] | None) -> list[str]:
    """Return layers in the order in which they go to float: those that int8 slows down, then the best worth.

    A layer's worth is the square of its error for the milliseconds that int8 saves in it: squared errors of layers add
    up. Without times, the error alone counts.

    Args:
        errors: The relative error of the outputs with only that layer in int8, by the layer's name.
        saved_ms: What int8 saves in each.
    """
    if saved_ms is None:
        return sorted(errors, key=lambda name: (-errors[name], name))

    def order(name: str) -> tuple[bool, float, str]:
        saved = saved_ms.get(name, 0.0)
        return saved > 0, -(errors[name] ** 2) / saved if saved > 0 else -errors[name], name

    return sorted(errors, key=order)
