from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from drupelet_host.compiler.lineage import digest_module
from drupelet_host.evaluation.cost import count_parameters
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.pruning.ratio.progressive import PruningResult
from drupelet_host.pruning.search.choice import ChannelChoice, predicted_loss
from drupelet_host.pruning.search.savings import CostMeasure, CostWeights, measure_savings
from drupelet_host.pruning.search.search import SearchSettings, search_pruning
from drupelet_host.pruning.search.steps import plan_step
from drupelet_host.pruning.sensitivity import SensitivityCurve
from drupelet_host.pruning.structure.groups import PrunableGroup, find_groups, remove_channels
from drupelet_host.pruning.widths import next_width
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.selection.frontier import JudgedCandidate, best_points, describe_frontier
from drupelet_host.selection.judge import CandidateResult
from drupelet_shared.timing import Timing
from fakes.observer import RecordingObserver
from support.model.tiny_project import INPUT_SHAPE, trained

EXAMPLE = torch.zeros(INPUT_SHAPE)
FLOAT, INT8 = "float", "int8"


def measurement(metric: float, size_bytes: int, ms: float = 1.0) -> Measurement:
    timing = Timing(p50_ms=ms, p95_ms=ms, p99_ms=ms, runs=1, mean_ms=ms)
    return Measurement(Path("model.onnx"), size_bytes, metric, timing, 1)


class Judge:
    """Metric 1 for the int8 variant down to `smallest` parameters and 0 below; the excess over `wanted` parameters."""

    def __init__(self, *, smallest: int = 0, wanted: int | None = None, int8_metric: float = 1.0) -> None:
        self.judged: list[int] = []
        self._smallest, self._wanted, self._int8_metric = smallest, wanted, int8_metric

    def __call__(self, model: nn.Module) -> CandidateResult:
        size = count_parameters(model)
        self.judged.append(size)
        good = size >= self._smallest
        found = {FLOAT: measurement(float(good), size), INT8: measurement(self._int8_metric * good, size)}
        excess = None if self._wanted is None else max(0.0, 1 - self._wanted / size)
        return CandidateResult(found, excess)


def search(judge: Judge, *, observer: RecordingObserver | None = None, **settings: object) -> PruningResult:
    tiny = trained()
    given = {"max_trials": 6, "channel_multiple": 4, "recovery": RecoveryConfig(epochs=0), **settings}
    return search_pruning(
        tiny.model,
        tiny.train,
        tiny.evaluate,
        judge,
        baseline=1.0,
        curves={},
        settings=SearchSettings(**{"variants": ((INT8, FLOAT),), "max_metric_drop": 0.01, **given}),
        observer=observer or RecordingObserver(),
    )


def original_size() -> int:
    return count_parameters(trained().model)


@pytest.mark.slow
def test_the_search_stops_at_the_first_candidate_that_meets_the_constraints() -> None:
    wanted = original_size() // 2
    judge, observer = Judge(wanted=wanted), RecordingObserver()
    result = search(judge, observer=observer)
    assert count_parameters(result.model) <= wanted < judge.judged[-2]
    assert len(result.candidates) == len(judge.judged)
    assert observer.decisions[-1] == "the search ends: the constraints are met"


def test_a_model_that_meets_the_constraints_already_is_not_pruned() -> None:
    result = search(Judge(wanted=original_size()))
    assert digest_module(result.model) == digest_module(trained().model)
    assert len(result.candidates) == 1


def test_without_a_constraint_on_cost_the_search_goes_on_until_the_metric_is_spent() -> None:
    smallest = original_size() // 3
    observer = RecordingObserver()
    result = search(Judge(smallest=smallest), observer=observer, max_trials=20)
    assert smallest <= count_parameters(result.model) < original_size() // 2
    assert observer.decisions[-1] == "the search ends: no further step keeps the metric"


def test_a_step_is_judged_by_the_quantized_model() -> None:
    class SpoiltByQuantization(Judge):
        def __call__(self, model: nn.Module) -> CandidateResult:
            verdict = super().__call__(model)
            spoilt = {**verdict.measurements, INT8: measurement(float(len(self.judged) == 1), self.judged[-1])}
            return CandidateResult(spoilt, verdict.excess)

    result = search(SpoiltByQuantization(wanted=1))
    assert digest_module(result.model) == digest_module(trained().model)
    assert [candidate.kept for candidate in result.candidates] == [True, *[False] * (len(result.candidates) - 1)]
    assert "rolled back: metric 0.0000 after recovery, below 0.9900" in result.candidates[1].reason


def test_where_int8_alone_costs_more_than_the_limit_the_float_variant_is_judged() -> None:
    result = search(Judge(wanted=original_size() // 2, int8_metric=0.5))
    assert result.candidates[0].reason == "unpruned; steps are judged as float"
    assert count_parameters(result.model) <= original_size() // 2


def test_the_variant_that_is_the_fastest_in_the_smaller_model_is_judged_from_there_on() -> None:
    class FasterLater(Judge):
        def __call__(self, model: nn.Module) -> CandidateResult:
            result = super().__call__(model)
            size = count_parameters(model)
            # Int8 is slower in the original, and faster in everything smaller, where it loses the metric at last.
            int8 = measurement(float(size > wanted), size, ms=2.0 if size == original_size() else 0.5)
            return CandidateResult({**result.measurements, INT8: int8}, result.excess)

    wanted = original_size() // 20
    observer = RecordingObserver()
    result = search(FasterLater(wanted=1), observer=observer, by_latency=True, max_trials=20)
    assert result.candidates[0].reason == "unpruned; steps are judged as float"
    assert "steps are judged as int8 from here on" in observer.decisions
    assert count_parameters(result.model) > wanted


def test_after_a_step_that_was_taken_back_half_of_it_is_tried() -> None:
    failed = search(Judge(smallest=original_size()), max_trials=1)
    tried = failed.candidates[1].parameters
    judge = Judge(smallest=tried + 1)
    result = search(judge, max_trials=2)
    assert judge.judged[1] == tried < judge.judged[2]
    assert [candidate.kept for candidate in result.candidates] == [True, False, True]


def test_a_search_makes_no_more_candidates_than_allowed() -> None:
    observer = RecordingObserver()
    result = search(Judge(smallest=original_size()), observer=observer, max_trials=2)
    assert len(result.candidates) == 1 + 2
    assert observer.decisions[-1] == "the search ends: 2 candidates were made, which is max_trials"


@pytest.mark.slow
def test_a_limit_that_nobody_stated_gives_way_to_a_size_that_somebody_did() -> None:
    size, wanted = original_size(), original_size() // 2

    class Falling(Judge):
        def __call__(self, model: nn.Module) -> CandidateResult:
            verdict = super().__call__(model)
            found = measurement(count_parameters(model) / size, count_parameters(model))
            return CandidateResult(dict.fromkeys((FLOAT, INT8), found), verdict.excess)

    strict = search(Falling(wanted=wanted), max_trials=60)
    relaxed = search(Falling(wanted=wanted), max_trials=60, drop_is_stated=False)
    assert strict.metric >= 0.99
    assert count_parameters(relaxed.model) <= wanted < count_parameters(strict.model)


def test_the_same_seed_gives_the_same_model_and_the_original_is_untouched() -> None:
    before = digest_module(trained().model)
    first, second = (search(Judge(wanted=original_size() // 2), recovery=RecoveryConfig(epochs=1)) for _ in range(2))
    assert digest_module(first.model) == digest_module(second.model)
    assert digest_module(trained().model) == before


def test_a_search_goes_through_the_training_data_no_more_often_than_allowed() -> None:
    observer = RecordingObserver()
    # Better than all right is out of reach: every candidate is trained for as long as it may be.
    result = search(
        Judge(smallest=1), observer=observer, max_metric_drop=-0.5, max_passes=3, recovery=RecoveryConfig(epochs=2)
    )
    assert result.passes == 3
    assert observer.decisions[-1] == "the search ends: 3 passes over the training data were made, which is max_passes"


def test_no_candidate_is_begun_when_the_time_is_over() -> None:
    observer = RecordingObserver()
    result = search(Judge(smallest=1), observer=observer, max_minutes=1e-9)
    assert len(result.candidates) == 1
    assert "minutes are over" in observer.decisions[-1]


def test_a_layer_with_factor_zero_is_left_alone_by_the_search() -> None:
    result = search(Judge(wanted=1), layers={"conv1": 0.0})
    assert {after for before, after in result.channels.values() if before == 32} == {32}


def test_sensitivity_is_measured_again_when_the_model_has_halved() -> None:
    observer = RecordingObserver()
    search(Judge(wanted=1), observer=observer)
    assert "the model has halved: measured its sensitivity again" in observer.decisions


def curve(name: str, *points: tuple[float, float]) -> SensitivityCurve:
    return SensitivityCurve(name, 64, ((0.0, 0.9), *points))


@dataclass(frozen=True)
class Savings:
    """The same for each channel of a group."""

    each: Mapping[str, float]

    @property
    def groups(self) -> frozenset[str]:
        return frozenset(self.each)

    def saved(self, channels: Mapping[str, int], name: str, count: int) -> float:
        return (channels[name] - count) * self.each[name]


SAVINGS = Savings({"a": 0.005, "b": 0.005})


def choice(**changes: object) -> ChannelChoice:
    given = {
        "curves": {"a": curve("a", (0.5, 0.9)), "b": curve("b", (0.5, 0.3))},
        "factors": {"a": 1.0, "b": 1.0},
        "multiple": 8,
    }
    return ChannelChoice(**{**given, **changes})


def test_effort_goes_where_the_curve_is_flat() -> None:
    assert choice().choose(SAVINGS, {"a": 64, "b": 64}, goal=0.12) == {"a": 40, "b": 64}


def test_of_two_flat_groups_the_one_that_saves_more_goes_first() -> None:
    flat = {"a": curve("a", (0.5, 0.9)), "b": curve("b", (0.5, 0.9))}
    chosen = choice(curves=flat).choose(Savings({"a": 0.001, "b": 0.005}), {"a": 64, "b": 64}, goal=0.04)
    assert chosen == {"a": 64, "b": 56}


def test_beyond_its_last_point_a_curve_falls_to_nothing() -> None:
    flat = curve("a", (0.75, 0.9))
    assert predicted_loss(flat, 16) == 0.0
    assert predicted_loss(flat, 8) == pytest.approx(0.45)


def test_a_point_above_the_one_before_it_counts_as_equal() -> None:
    assert predicted_loss(curve("a", (0.25, 0.8), (0.5, 0.88)), 32) == pytest.approx(0.1)


def test_a_choice_ends_where_nothing_is_left() -> None:
    assert choice().choose(SAVINGS, {"a": 8, "b": 8}, goal=0.5) == {"a": 8, "b": 8}


@pytest.mark.parametrize(("count", "narrower"), [(64, 56), (60, 56), (16, 8), (9, 8), (8, 8), (6, 6)])
def test_the_next_width_is_a_multiple_and_at_least_eight(count: int, narrower: int) -> None:
    assert next_width(count, multiple=8) == narrower


def test_savings_are_those_counted_on_a_smaller_copy() -> None:
    model = copy.deepcopy(trained().model)
    before = digest_module(model)
    size_alone = CostMeasure(CostWeights(parameters=1.0, time=0.0))
    savings = measure_savings(model, EXAMPLE, {"conv1": 32}, measure=size_alone)
    # A channel of conv1 has 16 x 9 weights, 2 of its norm, and 9 inputs of each of conv2's 16 channels.
    assert savings.saved({"conv1": 32}, "conv1", 31) == pytest.approx((16 * 9 + 2 + 9 * 16) / count_parameters(model))
    assert digest_module(model) == before


def test_the_best_points_are_those_that_no_other_beats() -> None:
    def candidate(number: int, metric: float, size_bytes: int) -> JudgedCandidate:
        found = {INT8: measurement(metric, size_bytes)}
        return JudgedCandidate(number=number, measurements=found, parameters=1, macs=1, kept=True, reason="")

    candidates = [candidate(0, 0.99, 400), candidate(1, 0.97, 300), candidate(2, 0.98, 200)]
    assert [point.candidate for point in best_points(candidates)] == [2, 0]
    text = describe_frontier(candidates)
    assert text.startswith("3 candidates were judged, the best: candidate 2 as int8: metric 0.9800, 200 B")


def test_a_search_starts_from_a_copy_without_padding_taps() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.Flatten(), nn.Linear(8, 4))
    tiny, judge, observer = trained(), Judge(wanted=10**9), RecordingObserver()
    result = search_pruning(
        model.eval(),
        tiny.train,
        tiny.evaluate,
        judge,
        baseline=1.0,
        curves={},
        settings=SearchSettings(variants=((INT8, FLOAT),), max_metric_drop=0.01),
        observer=observer,
    )
    assert count_parameters(model) - judge.judged[0] == 8 * 8 * 8
    assert result.model.get_submodule("2").weight.shape == (8, 8, 1, 1)
    assert "cut 512 weights of kernels that see only padding: the outputs stay the same" in observer.decisions


def test_a_candidate_that_misses_narrowly_is_recovered_once_more() -> None:
    class Second(Judge):
        """A metric just below the limit at the first look at a size, above it at the second."""

        def __call__(self, model: nn.Module) -> CandidateResult:
            verdict = super().__call__(model)
            size = self.judged[-1]
            metric = 0.987 if size < original_size() and self.judged.count(size) == 1 else 1.0
            return CandidateResult(dict.fromkeys((FLOAT, INT8), measurement(metric, size)), verdict.excess)

    judge, observer = Second(wanted=original_size() // 2), RecordingObserver()
    result = search(judge, observer=observer, recovery=RecoveryConfig(epochs=1))
    assert result.candidates[1].kept
    assert judge.judged[1] == judge.judged[2]
    assert "candidate 1 misses narrowly: recovering it once more" in observer.decisions


def test_a_group_that_loses_several_channels_at_once_does_so_in_a_step() -> None:
    group = PrunableGroup("a", 48, ("a",), "inner", multiple=12, minimum=12)
    assert [next_width(count, multiple=8, group=group) for count in (48, 24)] == [24, 24]
    assert choice(groups={"a": group}).choose(SAVINGS, {"a": 48}, goal=0.01) == {"a": 24}


def test_a_step_saves_what_was_asked_for_counted_on_the_smaller_model() -> None:
    tiny = trained()
    channels = {group.name: group.channels for group in find_groups(tiny.model, EXAMPLE)}
    measure = CostMeasure(CostWeights(parameters=1.0, time=0.0))
    given = ChannelChoice(curves={}, factors=dict.fromkeys(channels, 1.0), multiple=4)
    chosen = plan_step(tiny.model, EXAMPLE, channels, goal=0.5, choice=given, measure=measure)
    smaller = copy.deepcopy(tiny.model).requires_grad_(requires_grad=True)
    remove_channels(smaller, EXAMPLE, {name: channels[name] - chosen[name] for name in channels}, importance="l2")
    assert 0.35 * original_size() < count_parameters(smaller) <= 0.5 * original_size()


def test_a_step_leaves_blocked_groups_alone() -> None:
    tiny = trained()
    channels = {group.name: group.channels for group in find_groups(tiny.model, EXAMPLE)}
    factors = dict.fromkeys(channels, 1.0)
    given = ChannelChoice(curves={}, factors=factors, multiple=4, blocked=["conv1"])
    chosen = plan_step(tiny.model, EXAMPLE, channels, goal=0.9, choice=given, measure=CostMeasure())
    assert chosen["conv1"] == channels["conv1"]
    assert chosen != channels


def test_without_a_constraint_on_cost_half_of_what_may_be_lost_is_left_for_other_samples() -> None:
    class Falling(Judge):
        def __call__(self, model: nn.Module) -> CandidateResult:
            verdict = super().__call__(model)
            return CandidateResult(dict.fromkeys((FLOAT, INT8), measurement(0.993, 1)), verdict.excess)

    spent, met = search(Falling(), max_trials=1), search(Falling(wanted=1), max_trials=1)
    assert spent.candidates[1].reason == "rolled back: metric 0.9930 after recovery, below 0.9950"
    assert met.candidates[1].reason == "kept: metric 0.9930, at least 0.9900"
