"""What the layers of a model cost in time: by the target's latency table, or as multiply-accumulates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from drupelet_host.latency.modelled.layers import EngineName, LayerShape, Precision
from drupelet_host.latency.modelled.table import LatencyTable

_CACHED_SHAPES = 100_000


class TimeCost(Protocol):
    """Tells what layers cost; only ratios of its numbers count."""

    def of_layer(self, shape: LayerShape) -> float:
        """Return the cost of one layer."""

    def of(self, shapes: Iterable[LayerShape]) -> float:
        """Return the cost of a whole model, including what belongs to no layer."""


class MacCost:
    """Multiply-accumulates, for a target without a latency table."""

    def of_layer(self, shape: LayerShape) -> float:
        """Return the multiply-accumulates of one layer."""
        return float(shape.macs)

    def of(self, shapes: Iterable[LayerShape]) -> float:
        """Return the multiply-accumulates of a model."""
        return float(sum(shape.macs for shape in shapes))


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which a model is run: an engine and a precision."""

    engine: EngineName
    precision: Precision


class LatencyCost:
    """Milliseconds on the target, added up over the engines that a model is compiled for."""

    def __init__(self, table: LatencyTable, ways: Sequence[Way]) -> None:
        """Use a table.

        Args:
            table: The target's table.
            ways: The precision that counts in each engine, at least one.
        """
        self._table = table
        self._ways = tuple(ways)
        # The same sizes come up again and again: a step changes a few layers only.
        self._look_up = lru_cache(_CACHED_SHAPES)(self._sum_up)

    def __reduce__(self) -> tuple[type[LatencyCost], tuple[LatencyTable, tuple[Way, ...]]]:
        # A worker looks sizes up itself: the wrapper of a cache cannot be pickled.
        return LatencyCost, (self._table, self._ways)

    def of_layer(self, shape: LayerShape) -> float:
        """Return the milliseconds of one layer."""
        return self._look_up(replace(shape, name=""))

    def of(self, shapes: Iterable[LayerShape]) -> float:
        """Return the milliseconds of a model."""
        fixed = sum(self._table.overhead_ms(way.engine, way.precision) for way in self._ways)
        return fixed + sum(self.of_layer(shape) for shape in shapes)

    def _sum_up(self, shape: LayerShape) -> float:
        return sum(self._table.layer_ms(shape, way.engine, way.precision) for way in self._ways)
