"""The search for the layers that stay in float, with a judge that adds up what each layer costs."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from drupelet_host.quantization.mixed.search import MAX_RETURNED, LayerEvidence, LayerSearch, LayerTime


@dataclass
class AdditiveJudge:
    """The score is 1 less the losses of the layers in int8."""

    losses: dict[str, float]
    asked: list[frozenset[str]] = field(default_factory=list)

    def __call__(self, float_layers: frozenset[str]) -> float:
        self.asked.append(float_layers)
        return 1 - sum(loss for name, loss in self.losses.items() if name not in float_layers)


def layer(
    loss: float = 0.0, *, error: float = 0.0, float_ms: float = 100, int8_ms: float = 50, conversion_ms: float = 0.0
) -> LayerEvidence:
    time = LayerTime(float_ms=float_ms, int8_ms=int8_ms, conversion_ms=conversion_ms)
    return LayerEvidence(loss=loss, error=error, time=time)


def evidence(losses: dict[str, float]) -> dict[str, LayerEvidence]:
    return {name: layer(loss, error=loss) for name, loss in losses.items()}


def search(
    losses: dict[str, float], *, lowest_score: float, layers: dict[str, LayerEvidence] | None = None
) -> tuple[LayerSearch, AdditiveJudge]:
    judge = AdditiveJudge(losses)
    return LayerSearch(tuple(losses), layers or evidence(losses), judge=judge, lowest_score=lowest_score), judge


MANY = {f"layer{number}": 0.001 * number for number in range(16)}


def test_no_layer_stays_in_float_where_int8_reaches_the_score() -> None:
    found, judge = search(MANY, lowest_score=0.5)
    assert found.find_costly(frozenset()) == frozenset()
    assert len(judge.asked) == 1


@pytest.mark.parametrize(
    ("lowest_score", "expected"),
    [(0.89, {"layer15"}), (0.91, {"layer15", "layer14", "layer13"}), (1.0, set(MANY) - {"layer0"})],
)
def test_the_fewest_layers_that_reach_the_score_stay_in_float(lowest_score: float, expected: set[str]) -> None:
    found, judge = search(MANY, lowest_score=lowest_score)
    chosen = found.find_costly(frozenset())
    assert chosen == expected
    assert judge(chosen) >= lowest_score - 1e-9


def test_the_search_narrows_to_few_judgements() -> None:
    losses = {f"layer{number}": 0.001 * number for number in range(256)}
    found, judge = search(losses, lowest_score=1 - sum(losses.values()) / 2)
    found.find_costly(frozenset())
    assert len(judge.asked) <= 1 + 8 + MAX_RETURNED


def test_layers_that_give_back_most_for_their_time_go_first() -> None:
    losses = {"large": 0.02, "small": 0.015}
    layers = {
        "large": layer(0.02, float_ms=1000, int8_ms=500),
        "small": layer(0.015, float_ms=10, int8_ms=5),
    }
    found, _ = search(losses, lowest_score=0.975, layers=layers)
    assert found.find_costly(frozenset()) == {"small"}


def test_of_layers_that_cost_no_score_those_with_the_larger_error_go_first() -> None:
    errors = {"a": 1.0, "b": 3.0, "c": 2.0}
    layers = {name: layer(error=error) for name, error in errors.items()}
    together = LayerSearch("abc", layers, judge=lambda kept: 1.0 if "b" in kept else 0.0, lowest_score=1.0)
    assert together.find_costly(frozenset()) == {"b"}


def test_layers_that_the_score_does_not_need_return_to_int8() -> None:
    layers = {
        "first": layer(0.5, error=1),
        "second": layer(0.4, error=1),
    }
    # Together they lose what the second alone loses.
    found = LayerSearch(
        ("first", "second"), layers, judge=lambda kept: 1.0 if "second" in kept else 0.6, lowest_score=0.9
    )
    assert found.find_costly(frozenset()) == {"second"}


def test_a_layer_that_is_slower_in_int8_does_not_return() -> None:
    layers = {
        "slow": layer(0.5, error=1, int8_ms=200),
        "fast": layer(0.4, error=1),
    }
    found = LayerSearch(("slow", "fast"), layers, judge=lambda kept: float("fast" in kept), lowest_score=1.0)
    assert found.find_costly(frozenset()) == {"slow", "fast"}


@pytest.mark.parametrize(("int8_ms", "expected"), [(200, {"slow"}), (101, set()), (60, set())])
def test_layers_that_are_slower_in_int8_stay_in_float_where_that_saves_enough(
    int8_ms: float, expected: set[str]
) -> None:
    layers = {"fast": layer(), "slow": layer(int8_ms=int8_ms)}
    found = LayerSearch(("fast", "slow"), layers, judge=lambda _: 1.0, lowest_score=0.0)
    assert found.find_slow(frozenset()) == expected
    assert found.find_slow(frozenset({"slow"})) == frozenset()


@pytest.mark.parametrize(("conversion_ms", "expected"), [(40, {"slow"}), (60, set())])
def test_a_slow_layer_between_int8_layers_stays_in_float_only_if_that_pays_for_two_conversions(
    conversion_ms: float, expected: set[str]
) -> None:
    slow = layer(int8_ms=200, conversion_ms=conversion_ms)
    layers = {"first": layer(conversion_ms=conversion_ms), "slow": slow, "last": layer()}
    found = LayerSearch(tuple(layers), layers, judge=lambda _: 1.0, lowest_score=0.0)
    assert found.find_slow(frozenset()) == expected


def test_a_fast_layer_between_slow_ones_stays_in_float_with_them_where_converting_costs_more() -> None:
    fast, slow = layer(conversion_ms=60), layer(int8_ms=200, conversion_ms=60)
    layers = {"before": slow, "fast": fast, "after": slow}
    found = LayerSearch(tuple(layers), layers, judge=lambda _: 1.0, lowest_score=0.0)
    assert found.find_slow(frozenset()) == {"before", "fast", "after"}
    assert found.find_slow(frozenset({"before"})) == {"fast", "after"}
