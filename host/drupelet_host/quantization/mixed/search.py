"""Searches for the layers that stay in float, from measurements of single layers.

Pure except for the judge, which scores whole models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# A mixed model is one more variant, so it must save at least this fraction of the work.
WORTH_MIXING = 0.05
# The maximum number of layers tried for a return to int8: each needs one more scored model.
MAX_RETURNED = 8
# The least work a layer counts for, as a fraction of the total: it bounds the worth of tiny layers.
_SMALLEST_WORK = 0.001

# Scores the model with the given layers in float; higher is better.
ScoreWithout = Callable[[frozenset[str]], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEvidence:
    """The measurements of one layer that the search decides by.

    Attributes:
        loss: The score lost when only this layer is int8.
        error: The relative error of the outputs when only this layer is int8.
        work: The layer's multiply-accumulates in float.
        gain: The factor by which int8 reduces its work on the target.
    """

    loss: float
    error: float
    work: float
    gain: float

    @property
    def saved(self) -> float:
        """The work that int8 saves on the target, in float multiply-accumulates; negative where int8 adds work."""
        return self.work * (1 - 1 / self.gain)


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
        """Return the layers that int8 slows down on the target, if keeping them in float saves enough work."""
        slow = frozenset(name for name, layer in self._layers.items() if layer.gain < 1) - pinned
        in_int8 = sum(layer.work / layer.gain for layer in self._layers.values())
        return slow if -sum(self._layers[name].saved for name in slow) > WORTH_MIXING * in_int8 else frozenset()

    def find_costly(self, float_layers: frozenset[str]) -> frozenset[str]:
        """Return the fewest further float layers that reach the score, by the score they recover for their work.

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
        """Drop layers without which the score is still reached, those that save most work in int8 first."""
        chosen = frozenset(costly)
        for name in sorted(costly, key=lambda name: self._layers[name].saved, reverse=True)[:MAX_RETURNED]:
            if self._is_over():
                break
            if self._layers[name].saved >= 0 and self._meets(float_layers | (chosen - {name})):
                chosen -= {name}
        return chosen

    def _meets(self, float_layers: frozenset[str]) -> bool:
        return self._judge(float_layers) >= self._lowest_score

    def _worth(self, name: str) -> tuple[float, float]:
        """Return the score, and second the error, that a layer in float recovers for the work it costs."""
        layer = self._layers[name]
        cost = max(layer.saved, _SMALLEST_WORK * sum(other.work for other in self._layers.values()))
        return max(layer.loss, 0.0) / cost, layer.error**2 / cost
