"""The rules by which a path of a search steps, keeps and ends, and those by which a beam chooses: each alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from drupelet_host.compute.backend import Task
from drupelet_host.compute.in_process import IN_PROCESS, InProcess
from drupelet_host.data.dataset import Dataset
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.latency.modelled.module_layers import read_module_layers
from drupelet_host.latency.source import LatencyEstimate
from drupelet_host.pruning.ratio.progressive import PruningResult
from drupelet_host.pruning.search.beam import Beam, BeamPath, recover_step, take_step
from drupelet_host.pruning.search.budget import SearchBudget
from drupelet_host.pruning.search.judged import measure_cost
from drupelet_host.pruning.search.path import SearchPath
from drupelet_host.pruning.search.position import Position, SearchState
from drupelet_host.pruning.search.savings import CostMeasure
from drupelet_host.pruning.search.search import SearchSettings, search_pruning
from drupelet_host.pruning.search.time_cost import LatencyCost, MacCost, Way
from drupelet_host.pruning.structure.groups import PrunableGroup
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.selection.judge import CandidateResult
from drupelet_host.training.recovery import prepare_training_data
from drupelet_shared.timing import Interval, Timing
from fakes.observer import RecordingObserver
from support.model.latency_tables import make_table

INT8, FLOAT = "int8", "float"
WIDE, GROUPS = {"0": 32, "2": 32}, {name: PrunableGroup(name, 32, (name,), "first") for name in ("0", "2")}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 3),
    ).eval()


def samples(count: int = 8) -> Dataset:
    random = np.random.default_rng(0)
    return Dataset(random.random((count, 1, 8, 8), np.float32), np.arange(count) % 3)


def measurement(metric: float, *, p50_ms: float = 1.0) -> Measurement:
    timing = Timing(p50_ms=1.0, p95_ms=1.0, p99_ms=1.0, runs=1, mean_ms=1.0)
    latency = LatencyEstimate(p50_ms=p50_ms, interval=Interval(p50_ms, p50_ms), source="measured on pi-7")
    return Measurement(Path("model.onnx"), 1000, metric, timing, 1, latency=latency)


def result(metric: float = 1.0, *, excess: float | None = None, **others: Measurement) -> CandidateResult:
    return CandidateResult({INT8: measurement(metric), **others}, excess)


def path_of(**settings: object) -> SearchPath:
    model, train = network(), samples()
    given = {"variants": ((INT8, FLOAT),), "max_metric_drop": 0.1, "recovery": RecoveryConfig(epochs=1), **settings}
    chosen = SearchSettings(**given)
    return SearchPath(
        original=model,
        train=train,
        training_data=prepare_training_data(model, train, device=chosen.device, augment=None, seed=0),
        samples=train,
        evaluate=lambda _: 1.0,
        judge=lambda _: result(),
        baseline=1.0,
        settings=chosen,
        observer=RecordingObserver(),
        budget=SearchBudget(chosen.max_trials, chosen.max_passes),
    )


def state_of(**changes: object) -> SearchState:
    return replace(SearchState(0.8, 0.1, frozenset(), {}, (10_000, 100_000), CostMeasure()), **changes)


def at(channels: Mapping[str, int] = WIDE, **values: float | None) -> Position:
    return Position(network(), channels, result(**values))


@pytest.mark.parametrize(("excess", "smallest"), [(None, 0.2), (0.5, 0.08)])
def test_a_stride_below_the_smallest_ends_the_path_and_the_smallest_does_not(
    excess: float | None, smallest: float
) -> None:
    path, position = path_of(), at(excess=excess)
    assert path.next_channels(position, state_of(stride=smallest - 1e-9), GROUPS) is None
    chosen = path.next_channels(position, state_of(stride=smallest), GROUPS)
    assert chosen is not None
    assert sum(chosen.values()) < 64


def test_a_step_aims_a_little_beyond_the_excess_and_no_further() -> None:
    path = path_of()
    near = path.next_channels(at(excess=0.1), state_of(stride=0.8), GROUPS)
    far = path.next_channels(at(excess=None), state_of(stride=0.8), GROUPS)
    assert near is not None
    assert far is not None
    assert sum(far.values()) < sum(near.values()) < 64


def test_a_limit_is_relaxed_only_where_it_is_a_default_and_a_smaller_model_is_wanted_and_possible() -> None:
    path, position = path_of(drop_is_stated=False), at(excess=0.5)
    assert path.may_relax(position, state_of(), GROUPS)
    assert path.may_relax(position, state_of(drop=0.99), GROUPS)
    assert not path.may_relax(position, state_of(drop=1.0), GROUPS)
    assert not path.may_relax(at(excess=None), state_of(), GROUPS)
    assert not path.may_relax(at({"0": 8, "2": 8}, excess=0.5), state_of(), GROUPS)
    assert path.may_relax(at({"0": 8, "2": 16}, excess=0.5), state_of(), GROUPS)
    assert not path_of(drop_is_stated=True).may_relax(position, state_of(), GROUPS)


def test_a_relaxed_limit_is_twice_the_old_one_and_nothing_is_blocked() -> None:
    relaxed = path_of().relaxed(state_of(stride=0.1, blocked=frozenset({"0"})), stride=0.7)
    assert (relaxed.drop, relaxed.stride, relaxed.blocked) == (0.2, 0.7, frozenset())
    assert path_of().relaxed(state_of(stride=0.1)).stride == 0.85


@pytest.mark.parametrize(
    ("metric", "is_kept", "is_near"),
    [(0.9, True, False), (0.95, True, False), (0.8999, False, True), (0.85, False, True), (0.8499, False, False)],
)
def test_a_candidate_is_kept_from_the_limit_on_and_narrow_for_half_a_limit_below(
    metric: float, *, is_kept: bool, is_near: bool
) -> None:
    path = path_of()
    assert path.decide(metric, state_of())[0] == is_kept
    assert path.misses_narrowly(metric, state_of()) == is_near
    assert not path_of(recovery=RecoveryConfig(epochs=0)).misses_narrowly(metric, state_of())


def test_a_step_that_was_rolled_back_is_halved_and_of_one_block_the_group_is_left_alone() -> None:
    path = path_of()
    halved = path.narrowed(state_of(stride=0.6), at(), at({"0": 16, "2": 16}), GROUPS)
    assert (halved.stride, halved.blocked) == (0.3, frozenset())
    limited = path.narrowed(state_of(stride=0.6), at(excess=0.4), at({"0": 16, "2": 16}), GROUPS)
    assert limited.stride == 0.2
    blocked = path.narrowed(state_of(stride=0.6), at(), at({"0": 24, "2": 32}), GROUPS)
    assert (blocked.stride, blocked.blocked) == (0.6, {"0"})
    two_blocks = path.narrowed(state_of(stride=0.6), at(), at({"0": 16, "2": 32}), GROUPS)
    assert (two_blocks.stride, two_blocks.blocked) == (0.3, frozenset())


@pytest.mark.parametrize(
    ("drop", "excess", "spent"), [(0.1, None, 0.05), (0.0, None, 0.0), (-0.1, None, -0.1005), (0.1, 0.5, 0.1)]
)
def test_without_a_limit_on_cost_half_of_the_loss_is_spent_and_a_gain_is_exceeded(
    drop: float, excess: float | None, spent: float
) -> None:
    state = path_of(max_metric_drop=drop).first_state(at(excess=excess), {}, CostMeasure())
    assert state.drop == pytest.approx(spent)
    assert (state.stride, state.blocked) == (0.85, frozenset())
    assert state.curves_at == path_of().count_cost(network())


@pytest.mark.parametrize(
    ("drop", "excess", "enough"), [(0.1, 0.5, 1.0), (0.1, None, 1.1), (-0.1, 0.5, 1.1005), (-0.1, None, 1.1005)]
)
def test_recovery_ends_at_the_original_or_beyond_it_where_more_is_of_use(
    drop: float, excess: float | None, enough: float
) -> None:
    assert path_of(max_metric_drop=drop)._enough(result(excess=excess)) == pytest.approx(enough)


def test_of_the_variants_the_first_within_the_limit_is_judged_and_else_the_last() -> None:
    path = path_of(variants=((INT8, FLOAT),))
    assert path.choose_variants(result(0.9, float=measurement(1.0)), drop=0.1) == (INT8,)
    assert path.choose_variants(result(0.8999, float=measurement(1.0)), drop=0.1) == (FLOAT,)
    assert path.choose_variants(result(0.5, float=measurement(0.6)), drop=0.1) == (FLOAT,)
    assert path.choose_variants(result(0.5), drop=0.1) == (INT8,)


def test_by_latency_the_fastest_within_the_limit_is_judged() -> None:
    path = path_of(variants=((INT8, FLOAT),), by_latency=True)
    slow = CandidateResult({INT8: measurement(0.9, p50_ms=3.0), FLOAT: measurement(1.0, p50_ms=2.0)}, None)
    fast = CandidateResult({INT8: measurement(0.9, p50_ms=1.0), FLOAT: measurement(1.0, p50_ms=2.0)}, None)
    wrong = CandidateResult({INT8: measurement(0.8999, p50_ms=1.0), FLOAT: measurement(0.95, p50_ms=2.0)}, None)
    neither = CandidateResult({INT8: measurement(0.5, p50_ms=1.0), FLOAT: measurement(0.6, p50_ms=2.0)}, None)
    chosen = [path.choose_variants(one, drop=0.1) for one in (slow, fast, wrong, neither)]
    assert chosen == [(FLOAT,), (INT8,), (FLOAT,), (FLOAT,)]


def test_sensitivity_is_measured_again_from_half_of_the_cost_on() -> None:
    path, attempt = path_of(), at()
    parameters, macs = path.count_cost(attempt.model)
    known = state_of(curves_at=(2 * parameters - 1, 2 * macs - 1), blocked=frozenset({"0"}))
    assert path.renewed(known, attempt) is known
    for curves_at in ((2 * parameters, macs), (parameters, 2 * macs)):
        renewed = path.renewed(replace(known, curves_at=curves_at), attempt)
        assert (renewed.curves_at, renewed.blocked) == ((parameters, macs), frozenset())
        assert set(renewed.curves) == set(path.find_groups())


def test_time_counts_by_the_table_only_where_a_judged_variant_has_a_way_of_its_own() -> None:
    table, ways = make_table({"linear": 1.0, "convolution": 1.0, "pointwise": 1.0}), {INT8: Way("ncnn", "int8")}
    shapes = read_module_layers(network(), torch.zeros(1, 1, 8, 8))
    settings = SearchSettings(variants=((INT8,),), max_metric_drop=0.1, table=table, ways=ways)
    assert isinstance(measure_cost(settings, [INT8], shapes).time, LatencyCost)
    assert isinstance(measure_cost(settings, [FLOAT], shapes).time, MacCost)
    assert isinstance(measure_cost(replace(settings, table=None), [INT8], shapes).time, MacCost)


def test_a_worker_gets_a_path_without_a_judge_and_with_a_budget_of_its_own() -> None:
    path = path_of(max_trials=3, max_passes=7)
    sent = path.for_worker().with_passes(2)
    assert sent.judge(network()).measurements == {}
    assert (sent.budget.passes, sent.budget.max_trials, sent.budget.max_passes) == (2, 3, 7)
    assert path.budget.passes == 0


def beam_of(path: SearchPath, *, width: int) -> Beam:
    return Beam(
        first=path,
        width=width,
        groups=GROUPS,
        judged=(INT8,),
        judge_all=lambda models: [result() for _ in models],
        compute=IN_PROCESS,
        threads=1,
    )


def beam_path(number: int, position: Position, **changes: object) -> BeamPath:
    values = {"state": state_of(), "stride": 0.8, "search": path_of(max_trials=3), **changes}
    return BeamPath(number=number, position=position, **values)


def test_the_paths_of_a_beam_differ_in_importance_stride_and_seed() -> None:
    path = path_of(seed=5, importance="l2")
    path.budget.passes = 4
    beam = beam_of(path, width=8)
    beam.candidates = [path.candidate(number, at(), kept=True, reason="") for number in range(3)]
    made = [beam._make_path(number, at(), state_of(stride=0.8)) for number in range(8)]

    assert [one.stride for one in made] == [0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.8, 0.8]
    assert [one.state.stride for one in made] == [one.stride for one in made]
    assert [one.search.settings.importance for one in made] == ["l2", "taylor"] * 4
    assert [one.search.settings.seed for one in made] == [5 + 1000 * number for number in range(8)]
    assert {(one.trials, one.search.budget.passes) for one in made} == {(2, 4)}


@pytest.mark.parametrize("importance", ["l1", "l2", "taylor"])
def test_the_second_path_removes_by_another_importance(importance: str) -> None:
    beam = beam_of(path_of(importance=importance), width=2)
    beam.candidates = [beam.first.candidate(0, at(), kept=True, reason="")]
    assert beam._make_path(1, at(), state_of()).search.settings.importance != importance


def test_a_path_lives_until_it_is_over_has_met_the_constraints_or_spent_its_trials() -> None:
    assert beam_path(0, at(excess=None), trials=2).is_live
    assert beam_path(0, at(excess=0.1)).is_live
    assert not beam_path(0, at(excess=0.0)).is_live
    assert not beam_path(0, at(excess=None), trials=3).is_live
    assert not beam_path(0, at(excess=None), is_over=True).is_live


def test_a_path_that_falls_behind_goes_on_from_the_better_one_and_the_first_never_does() -> None:
    beam = beam_of(path_of(), width=3)
    good = beam_path(1, at(metric=1.0, excess=0.1), kept=(4,), state=state_of(stride=0.3))
    first, last = beam_path(0, at(metric=0.9, excess=0.5)), beam_path(2, at(metric=0.9, excess=0.5), stride=0.2)
    last.is_over = True
    beam._replace_dominated([first, good, last])

    assert first.position.result.excess == 0.5
    assert (last.position, last.kept, last.is_over) == (good.position, (4,), False)
    assert last.state.stride == 0.2
    assert beam.first.observer.decisions == ["path 2 goes on from where path 1 is, which is better"]


def test_a_path_that_is_better_in_one_thing_goes_its_own_way() -> None:
    beam = beam_of(path_of(), width=2)
    smaller, better = beam_path(0, at(metric=0.9, excess=0.1)), beam_path(1, at(metric=1.0, excess=0.5))
    beam._replace_dominated([smaller, better])
    assert better.position.result.excess == 0.5
    equal = beam_path(1, at(metric=0.9, excess=0.1))
    assert not beam._dominates(smaller, equal)


def test_the_best_path_has_the_least_excess_then_the_highest_metric_then_the_lowest_number() -> None:
    beam = beam_of(path_of(), width=4)
    paths = [
        beam_path(0, at(metric=1.0, excess=0.2)),
        beam_path(1, at(metric=0.8, excess=0.1)),
        beam_path(2, at(metric=0.9, excess=0.1)),
        beam_path(3, at(metric=0.9, excess=0.1)),
    ]
    assert beam._choose(paths).number == 2
    assert beam._choose(paths[::-1]).number == 2


def test_without_a_limit_the_cost_of_a_path_is_its_share_of_the_originals() -> None:
    beam = beam_of(path_of(), width=1)
    assert beam._cost(beam_path(0, at(excess=None))) == pytest.approx(1.0)
    assert beam._cost(beam_path(0, at(excess=0.25))) == 0.25


def test_only_the_candidates_that_led_to_the_result_count_as_kept() -> None:
    path = path_of()
    beam = beam_of(path, width=2)
    kept = [True, True, False, True]
    beam.candidates = [path.candidate(number, at(), kept=one, reason="") for number, one in enumerate(kept)]
    marked = beam._mark_kept(beam_path(0, at(), kept=(3,)))
    assert [one.kept for one in marked] == [True, False, False, True]


def search(metrics: list[float], **settings: object) -> tuple[RecordingObserver, PruningResult]:
    """Search with candidates of these metrics, one after the other, beyond the constraints by half."""
    observer, left = RecordingObserver(), [1.0, *metrics]
    train = samples()
    given = {"variants": ((INT8,),), "max_metric_drop": 0.1, "channel_multiple": 4, **settings}
    pruned = search_pruning(
        network(),
        train,
        # Below the original, so that no recovery ends early.
        lambda _: 0.9,
        lambda _: result(left.pop(0), excess=0.5),
        baseline=1.0,
        curves={},
        settings=SearchSettings(**given),
        observer=observer,
    )
    return observer, pruned


def test_each_path_of_a_beam_counts_its_own_candidates_and_passes() -> None:
    settings = {"beam": 2, "max_trials": 2, "recovery": RecoveryConfig(epochs=1)}
    observer, pruned = search([1.0, 0.86, 0.95, 1.0, 1.0], **settings)

    told = [what for what, _, _ in observer.progress if what.endswith("recovered")]
    assert sorted(told[:2]) == ["candidate 1 of path 0 is recovered", "candidate 1 of path 1 is recovered"]
    assert told[2] == "candidate 1 of path 1 once more is recovered"
    assert sorted(told[3:]) == ["candidate 2 of path 0 is recovered", "candidate 2 of path 1 is recovered"]
    assert [one.measurements[INT8].metric for one in pruned.candidates] == [1.0, 1.0, 0.95, 1.0, 1.0]
    assert [one.number for one in pruned.candidates] == [0, 1, 2, 3, 4]


class RecordingBackend(InProcess):
    """Keeps the tasks that it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[Task] = []

    def submit(self, task: Task) -> int:
        self.tasks.append(task)
        return super().submit(task)


def test_the_seed_of_each_step_follows_from_the_number_of_its_candidate() -> None:
    backend = RecordingBackend()
    search([1.0, 0.86, 0.95, 1.0, 1.0], beam=2, max_trials=2, recovery=RecoveryConfig(epochs=1), compute=backend)
    steps = [task.arguments[3] for task in backend.tasks if task.function is take_step]
    again = [task.arguments[2] for task in backend.tasks if task.function is recover_step]
    assert (steps, again) == ([1, 1, 2, 2], [1])


def test_a_search_makes_as_many_candidates_as_allowed_and_says_why_it_ends() -> None:
    observer, pruned = search([1.0, 0.5, 1.0], max_trials=3, recovery=RecoveryConfig(epochs=0))

    assert [(one.number, one.kept) for one in pruned.candidates] == [(0, True), (1, True), (2, False), (3, True)]
    assert observer.decisions[-1] == "the search ends: 3 candidates were made, which is max_trials"
    assert {before for before, _ in pruned.channels.values()} == {32}
    assert sum(after for _, after in pruned.channels.values()) < 64
