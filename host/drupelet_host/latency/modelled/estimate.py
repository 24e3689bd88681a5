"""Estimates what a model would take on a target, layer by layer, from the target's latency table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from drupelet_host.latency.machine import modelled_for
from drupelet_host.latency.modelled.layers import (
    ENGINES,
    PRECISIONS,
    EngineName,
    LayerShape,
    Precision,
    StoredPrecision,
    as_run,
)
from drupelet_host.latency.modelled.table import LatencyTable

EstimatedPrecision = Literal["float32", "int8", "mixed"]
# "mixed" is a layer's own precision, as its file has it.
VARIANT_PRECISIONS: dict[str, EstimatedPrecision] = {
    "fp32": "float32",
    "wf16": "float32",
    "static-wi8-ai8": "int8",
    "dynamic-wi8": "mixed",
    "mixed-wi8-ai8": "mixed",
}


@dataclass(frozen=True, slots=True)
class LayerEstimate:
    """What one layer takes; `shape` names it.

    Attributes:
        shape: The layer.
        ms: Its time.
        extrapolated: Whether the table was made from no layer like it.
    """

    shape: LayerShape
    ms: float
    extrapolated: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one inference takes on a target at one thread, by a model of its processor.

    Attributes:
        target: The target's name.
        engine: What runs the model.
        precision: In which precision; "mixed" is each layer's own.
        ms: The time.
        error: How far it may be off, as a fraction.
        table_error: The part of it that is the table's own; the rest is the same for all networks of one precision.
        validated: Whether boards were compared in this engine and precision.
        layers: Of each layer.
        threads_4_ms: The range for four threads.
    """

    target: str
    engine: EngineName
    precision: EstimatedPrecision
    ms: float
    error: float
    table_error: float
    validated: bool
    layers: tuple[LayerEstimate, ...]
    threads_4_ms: tuple[float, float]

    @property
    def low_ms(self) -> float:
        """The lower end of the range."""
        return self.ms * (1 - self.error)

    @property
    def high_ms(self) -> float:
        """The upper end of the range."""
        return self.ms * (1 + self.error)

    @property
    def model_error(self) -> float:
        """The part of the error that is the timing model's, the same for all networks of one precision."""
        return math.sqrt(max(0.0, self.error**2 - self.table_error**2))

    @property
    def extrapolated_share(self) -> float:
        """The share of the time that is of layers unlike those of the table; it may be off by more than the range."""
        return sum(layer.ms for layer in self.layers if layer.extrapolated) / self.ms if self.ms else 0.0

    @property
    def source(self) -> str:
        """Where the number comes from, to be printed with it."""
        return f"{modelled_for(self.target)}, one thread, +-{self.error:.0%}"

    def to_json(self) -> dict[str, Any]:
        """Return the document for `--json`."""
        return {
            "engine": self.engine,
            "precision": self.precision,
            "ms": round(self.ms, 4),
            "low_ms": round(self.low_ms, 4),
            "high_ms": round(self.high_ms, 4),
            "threads_4_ms": [round(value, 4) for value in self.threads_4_ms],
            "source": self.source,
            "validated_on_boards": self.validated,
            "extrapolated_share": round(self.extrapolated_share, 4),
            "layers": [
                {
                    "name": layer.shape.name,
                    "kind": layer.shape.category,
                    "macs": layer.shape.macs,
                    "ms": round(layer.ms, 5),
                    "extrapolated": layer.extrapolated,
                }
                for layer in self.layers
            ],
        }


def estimate(
    shapes: Sequence[LayerShape], table: LatencyTable, engine: EngineName, precision: EstimatedPrecision
) -> Estimate:
    """Estimate a network in one engine and precision.

    Args:
        shapes: Its layers; conversions between precisions count in "mixed" alone.
        table: The target's table.
        engine: What would run it.
        precision: In which precision it would run.

    Returns:
        The time with its range.
    """
    if precision == "mixed":
        return _estimate_mixed(shapes, table, engine)
    counted = as_run([shape for shape in shapes if shape.kind != "conversion"], engine, precision)
    layers = tuple(
        LayerEstimate(
            shape, table.layer_ms(shape, engine, precision), extrapolated=not table.covers(shape, engine, precision)
        )
        for shape in counted
    )
    total = table.network_ms(counted, engine, precision)
    accuracy = table.accuracies[engine, precision]
    return Estimate(
        table.target,
        engine,
        precision,
        total,
        accuracy.error,
        accuracy.table_error,
        accuracy.validated,
        layers,
        _four_threads(table, total, accuracy.error),
    )


def estimate_stored(shapes: Sequence[LayerShape], table: LatencyTable, engine: EngineName) -> Estimate:
    """Estimate a network with each layer in the precision that its file has it in.

    Args:
        shapes: Its layers.
        table: The target's table.
        engine: What would run it.

    Returns:
        The time with its range; the precision is one where all layers with weights have it.
    """
    stored = {shape.stored for shape in shapes if shape.macs}
    if stored == {"float32"}:
        return estimate(shapes, table, engine, "float32")
    return estimate(shapes, table, engine, "int8" if stored == {"int8"} else "mixed")


def _estimate_mixed(shapes: Sequence[LayerShape], table: LatencyTable, engine: EngineName) -> Estimate:
    if all(shape.stored == "int8" for shape in shapes if shape.macs):
        shapes = as_run(shapes, engine, "int8")
    layers = tuple(
        LayerEstimate(
            shape,
            _stored_ms(shape, table, engine),
            extrapolated=not all(table.covers(shape, engine, precision) for precision in _precisions_of(shape.stored)),
        )
        for shape in shapes
    )
    used = {precision for shape in shapes for precision in _precisions_of(shape.stored)} or {"float32"}
    accuracies = [table.accuracies[engine, precision] for precision in PRECISIONS if precision in used]
    total = sum(layer.ms for layer in layers) + max(table.overhead_ms(engine, precision) for precision in PRECISIONS)
    error = max(accuracy.error for accuracy in accuracies)
    # A layer quantized in each inference takes something between int8 and float32: no board was compared.
    spread = sum(_spread_ms(layer.shape, table, engine) for layer in layers) / total
    return Estimate(
        table.target,
        engine,
        "mixed",
        total,
        error + spread,
        max(accuracy.table_error for accuracy in accuracies) + spread,
        all(accuracy.validated for accuracy in accuracies) and not spread,
        layers,
        _four_threads(table, total, error + spread),
    )


def _precisions_of(stored: StoredPrecision) -> tuple[Precision, ...]:
    return PRECISIONS if stored == "dynamic" else (stored,)


def _stored_ms(shape: LayerShape, table: LatencyTable, engine: EngineName) -> float:
    times = [table.layer_ms(shape, engine, precision) for precision in _precisions_of(shape.stored)]
    return sum(times) / len(times)


def _spread_ms(shape: LayerShape, table: LatencyTable, engine: EngineName) -> float:
    """Half of how far the precisions that a layer may run in are apart."""
    times = [table.layer_ms(shape, engine, precision) for precision in _precisions_of(shape.stored)]
    return (max(times) - min(times)) / 2


def _four_threads(table: LatencyTable, total: float, error: float) -> tuple[float, float]:
    low, high = table.threads_4
    return total * (1 - error) * low, total * (1 + error) * high


def estimate_all(
    shapes: Sequence[LayerShape],
    table: LatencyTable,
    *,
    engines: Iterable[EngineName] = ENGINES,
    precisions: Iterable[Precision] = PRECISIONS,
) -> list[Estimate]:
    """Estimate a network in several engines and precisions.

    Args:
        shapes: Its layers.
        table: The target's table.
        engines: What would run it.
        precisions: In which precisions.

    Returns:
        One estimate for each engine and precision.
    """
    chosen = tuple(precisions)
    return [estimate(shapes, table, engine, precision) for engine in engines for precision in chosen]
