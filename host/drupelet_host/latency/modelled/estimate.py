"""Estimates what a model would take on a target, layer by layer, from the target's latency table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from drupelet_host.latency.modelled.layers import ENGINES, PRECISIONS, EngineName, LayerShape, Precision
from drupelet_host.latency.modelled.table import LatencyTable

# The precisions of variants that the table has; dynamic int8 computes in neither.
VARIANT_PRECISIONS: dict[str, Precision] = {"fp32": "float32", "wf16": "float32", "static-wi8-ai8": "int8"}


@dataclass(frozen=True, slots=True)
class LayerEstimate:
    """What one layer takes; `shape` names it."""

    shape: LayerShape
    ms: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one inference takes on a target at one thread, by a model of its processor.

    Attributes:
        target: The target's name.
        engine: What runs the model.
        precision: In which precision.
        ms: The time.
        error: How far it may be off, as a fraction.
        validated: Whether boards were compared in this engine and precision.
        layers: Of each layer.
        threads_4_ms: The range for four threads.
    """

    target: str
    engine: EngineName
    precision: Precision
    ms: float
    error: float
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
    def source(self) -> str:
        """Where the number comes from, to be printed with it."""
        return f"modelled for {self.target}, one thread, +-{self.error:.0%}"

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
            "layers": [
                {
                    "name": layer.shape.name,
                    "kind": layer.shape.category,
                    "macs": layer.shape.macs,
                    "ms": round(layer.ms, 5),
                }
                for layer in self.layers
            ],
        }


def estimate(shapes: Sequence[LayerShape], table: LatencyTable, engine: EngineName, precision: Precision) -> Estimate:
    """Estimate a network in one engine and precision.

    Args:
        shapes: Its layers.
        table: The target's table.
        engine: What would run it.
        precision: In which precision it would run.

    Returns:
        The time with its range.
    """
    layers = tuple(LayerEstimate(shape, table.layer_ms(shape, engine, precision)) for shape in shapes)
    total = table.network_ms(shapes, engine, precision)
    accuracy = table.accuracies[engine, precision]
    low, high = table.threads_4
    least, most = total * (1 - accuracy.error) * low, total * (1 + accuracy.error) * high
    return Estimate(table.target, engine, precision, total, accuracy.error, accuracy.validated, layers, (least, most))


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
