"""The search for the layers that stay in float: from evidence on single layers to a choice that was judged as a whole.

Pure but for the judge that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# A mixture is one more variant, so it must save at least this fraction of the work.
WORTH_MIXING = 0.05
# Judging once more for each layer that might return to int8 costs as much as the whole search before it.
MAX_RETURNED = 8
# Layers of hardly any work would be worth infinitely much for it.
_SMALLEST_WORK = 0.001

# The score of the model with these layers in float; higher is better.
ScoreWithout = Callable[[frozenset[str]], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEvidence:
    """What was measured and counted of one layer.

    Attributes:
        loss: What the layer alone in int8 costs of the score.
        error: The relative error that it then brings to the outputs.
        work: Its multiply-accumulates in float.
        gain: How many times less work it is in int8 on the target.
    """

    loss: float
    error: float
    work: float
    gain: float

    @property
    def saved(self) -> float:
        """The work that int8 saves on the target, in float multiply-accumulates; negative where int8 is more."""
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
    ) -> None:
        """Prepare a search.

        Args:
            order: The names of all layers, in the order of the model.
            layers: The evidence on each.
            judge: The score of the model with given layers in float.
            lowest_score: The score to reach.
        """
        self._order = tuple(order)
        self._layers = layers
        self._judge = judge
        self._lowest_score = lowest_score

    def find_slow(self, pinned: frozenset[str]) -> frozenset[str]:
        """Return the layers with more work in int8 on the target, if keeping them in float is worth another variant."""
        slow = frozenset(name for name, layer in self._layers.items() if layer.gain < 1) - pinned
        in_int8 = sum(layer.work / layer.gain for layer in self._layers.values())
        return slow if -sum(self._layers[name].saved for name in slow) > WORTH_MIXING * in_int8 else frozenset()

    def find_costly(self, float_layers: frozenset[str]) -> frozenset[str]:
        """Return the fewest further layers that reach the score, those that give back most for their work first.

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
        """Return layers to int8 that the score does not need in float, those first that save most in int8."""
        chosen = frozenset(costly)
        for name in sorted(costly, key=lambda name: self._layers[name].saved, reverse=True)[:MAX_RETURNED]:
            if self._layers[name].saved >= 0 and self._meets(float_layers | (chosen - {name})):
                chosen -= {name}
        return chosen

    def _meets(self, float_layers: frozenset[str]) -> bool:
        return self._judge(float_layers) >= self._lowest_score

    def _worth(self, name: str) -> tuple[float, float]:
        """Return what a layer in float gives back for the work it costs: of the score, then of the error."""
        layer = self._layers[name]
        cost = max(layer.saved, _SMALLEST_WORK * sum(other.work for other in self._layers.values()))
        return max(layer.loss, 0.0) / cost, layer.error**2 / cost
