"""Searches for the layers that stay in float, from measurements of single layers.

Pure except for the judge, which scores whole models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# A mixed model is one more variant, so it must save at least this fraction of the time.
WORTH_MIXING = 0.05
# The maximum number of layers tried for a return to int8: each needs one more scored model.
MAX_RETURNED = 8
# The least time a layer counts for, as a fraction of the total: it bounds the worth of tiny layers.
_SMALLEST_TIME = 0.001

# Scores the model with the given layers in float; higher is better.
ScoreWithout = Callable[[frozenset[str]], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """What one layer takes on the target.

    Attributes:
        float_ms: In float.
        int8_ms: In int8.
        conversion_ms: What it takes to convert its result where the next layer has the other precision.
    """

    float_ms: float
    int8_ms: float
    conversion_ms: float = 0.0

    @property
    def saved_ms(self) -> float:
        """The time that int8 saves; negative where int8 is slower."""
        return self.float_ms - self.int8_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEvidence:
    """The measurements of one layer that the search decides by.

    Attributes:
        loss: The score lost when only this layer is int8.
        error: The relative error of the outputs when only this layer is int8.
        time: What the layer takes on the target.
    """

    loss: float
    error: float
    time: LayerTime


class LayerSearch:
    """Chooses the layers that stay in float."""

    def __init__(
        self,
        order: Sequence[str],
        layers: Mapping[str, LayerEvidence],
        *,
        judge: ScoreWithout,
        lowest_score: float,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare a search.

        Args:
            order: The names of all layers, in the order of the model.
            layers: The evidence on each layer, by name.
            judge: Scores the model with given layers in float.
            lowest_score: The score to reach.
            is_over: Returns whether no time is left for what only makes a choice that reaches the score smaller.
        """
        self._order = tuple(order)
        self._layers = layers
        self._judge = judge
        self._lowest_score = lowest_score
        self._is_over = is_over

    def find_slow(self, pinned: frozenset[str]) -> frozenset[str]:
        """Return the layers that int8 slows down on the target, if keeping them in float saves enough time.

        Layers are taken for a chain, in which two of unlike precision have a conversion between them; the fastest
        precisions of such a chain follow from a shortest path.

        Args:
            pinned: The layers that stay in float in any case.
        """
        fastest_ms, floats = self._find_fastest(pinned)
        int8_ms, _ = self._find_fastest(pinned, only_int8=True)
        return floats - pinned if int8_ms - fastest_ms > WORTH_MIXING * int8_ms else frozenset()

    def _find_fastest(self, pinned: frozenset[str], *, only_int8: bool = False) -> tuple[float, frozenset[str]]:
        """Return the least time of the chain, and the layers that are float in it.

        Args:
            pinned: The layers that are float.
            only_int8: Whether all others are int8.
        """
        # The best chain so far that ends in int8, and the one that ends in float. The model's input is float.
        ends: dict[bool, tuple[float, frozenset[str]]] = {False: (0.0, frozenset())}
        crossing_ms = 0.0
        for name in self._order:
            time = self._layers[name].time
            options = {True: time.int8_ms, False: time.float_ms}
            if name in pinned:
                del options[True]
            elif only_int8:
                del options[False]
            following: dict[bool, tuple[float, frozenset[str]]] = {}
            for is_int8, own_ms in options.items():
                reached = [
                    (total_ms + own_ms + (crossing_ms if was_int8 != is_int8 else 0.0), floats)
                    for was_int8, (total_ms, floats) in ends.items()
                ]
                total_ms, floats = min(reached, key=lambda end: end[0])
                following[is_int8] = total_ms, floats if is_int8 else floats | {name}
            ends, crossing_ms = following, time.conversion_ms
        finished = [
            (total_ms + (crossing_ms if is_int8 else 0.0), floats) for is_int8, (total_ms, floats) in ends.items()
        ]
        return min(finished, key=lambda end: end[0])

    def find_costly(self, float_layers: frozenset[str]) -> frozenset[str]:
        """Return the fewest further float layers that reach the score, by the score they recover for their time.

        Args:
            float_layers: The layers that stay in float in any case.
        """
        if self._meets(float_layers):
            return frozenset()
        candidates = [name for name in self._order if name not in float_layers]
        candidates.sort(key=self._worth, reverse=True)
        low, high = 0, len(candidates)
        while high - low > 1:
            middle = (low + high) // 2
            if self._meets(float_layers | frozenset(candidates[:middle])):
                high = middle
            else:
                low = middle
        return self._without_unneeded(float_layers, candidates[:high])

    def _without_unneeded(self, float_layers: frozenset[str], costly: Sequence[str]) -> frozenset[str]:
        """Drop layers without which the score is still reached, those that save most time in int8 first."""
        chosen = frozenset(costly)
        for name in sorted(costly, key=lambda name: self._layers[name].time.saved_ms, reverse=True)[:MAX_RETURNED]:
            if self._is_over():
                break
            if self._layers[name].time.saved_ms >= 0 and self._meets(float_layers | (chosen - {name})):
                chosen -= {name}
        return chosen

    def _meets(self, float_layers: frozenset[str]) -> bool:
        return self._judge(float_layers) >= self._lowest_score

    def _worth(self, name: str) -> tuple[float, float]:
        """Return the score, and second the error, that a layer in float recovers for the time it costs."""
        layer = self._layers[name]
        cost = max(layer.time.saved_ms, _SMALLEST_TIME * sum(other.time.float_ms for other in self._layers.values()))
        return max(layer.loss, 0.0) / cost, layer.error**2 / cost
