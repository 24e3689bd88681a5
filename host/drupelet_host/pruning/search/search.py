"""The search for how far each group is pruned, where constraints are stated and no ratio."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import nn

from drupelet_host.data.dataset import Dataset
from drupelet_host.progress.observer import Observer
from drupelet_host.pruning.importance import label_samples
from drupelet_host.pruning.ratio.progressive import PruningResult
from drupelet_host.pruning.search.beam import Beam, JudgeAll
from drupelet_host.pruning.search.budget import SearchBudget
from drupelet_host.pruning.search.path import SearchPath
from drupelet_host.pruning.search.position import Position, SearchState
from drupelet_host.pruning.search.settings import SearchSettings
from drupelet_host.pruning.sensitivity import SensitivityCurve
from drupelet_host.selection.judge import CandidateResult
from drupelet_host.training.recovery import Evaluate, prepare_training_data

__all__ = ["SearchSettings", "search_pruning"]


def search_pruning(
    model: nn.Module,
    train: Dataset,
    evaluate: Evaluate,
    judge: Callable[[nn.Module], CandidateResult],
    *,
    baseline: float,
    curves: Mapping[str, SensitivityCurve],
    settings: SearchSettings,
    observer: Observer,
    resumed: PruningResult | None = None,
    judge_all: JudgeAll | None = None,
) -> PruningResult:
    """Prune a copy step by step until the constraints are met or, without any on cost, until the metric is spent.

    It starts from a copy without the kernel taps that see only padding, which computes the same. A step removes the
    channels that save most for the loss the curves predict, is fine-tuned, exported, quantized and measured; one that
    misses by little is fine-tuned once more. It stays if the quantized model keeps the metric in every engine; else it
    is rolled back and half of it is tried. The same seed gives the same weights on the same machine, unless a latency
    is constrained or `max_minutes` ends the search: times are never the same twice.

    Args:
        model: The original; it is left as it is.
        train: What recovers; the result is for inputs of exactly its shape.
        evaluate: Gives a module's metric during recovery, higher is better.
        judge: Measures a candidate as it would ship.
        baseline: The original's metric in the engine.
        curves: Sensitivity by group.
        settings: Limits and means.
        observer: Is told why each step was kept or rolled back.
        resumed: An earlier search that this one goes on from, within the same limits on trials and passes.
        judge_all: Measures several candidates, converting them at the same time; by default one after another.

    Returns:
        The pruned model with its metric and steps.

    Raises:
        ExportError: A candidate cannot be exported or quantized.
        ModelError: The model cannot be traced.
    """
    search = SearchPath(
        original=copy.deepcopy(model).eval(),
        train=train,
        training_data=prepare_training_data(
            model,
            train,
            device=settings.device,
            augment=settings.recovery.augment,
            seed=settings.seed,
            finished=settings.finished,
            task=settings.task,
        ),
        samples=label_samples(model, train),
        evaluate=evaluate,
        judge=judge,
        baseline=baseline,
        settings=settings,
        observer=observer,
        budget=SearchBudget(settings.max_trials, settings.max_passes, settings.max_minutes),
    )
    if resumed is not None:
        search.budget.passes = resumed.passes
    return _search(search, curves, resumed, judge_all)


def _search(
    path: SearchPath,
    curves: Mapping[str, SensitivityCurve],
    resumed: PruningResult | None,
    judge_all: JudgeAll | None,
) -> PruningResult:
    groups = path.find_groups()
    before = {name: group.channels for name, group in groups.items()}
    position = path.start(before, resumed)
    judged = path.choose_variants(position.result, drop=path.settings.max_metric_drop)
    state = path.first_state(position, curves, path.measure_cost(position, judged))
    candidates = list(resumed.candidates) if resumed is not None else []
    if not candidates:
        reason = f"unpruned; steps are judged as {' and '.join(judged)}"
        candidates.append(path.candidate(0, position, kept=True, reason=reason))
        path.tell(candidates[-1], judged)
    if path.settings.beam > 1:
        beam = Beam(
            first=path,
            width=path.settings.beam,
            groups=groups,
            judged=judged,
            judge_all=judge_all or (lambda models: [path.judge(model) for model in models]),
            compute=path.settings.compute,
            threads=path.settings.candidate_threads or 1,
        )
        return beam.run(position, state, before=before, candidates=candidates)
    while position.result.excess != 0 and not path.budget.spent(trials=len(candidates) - 1):
        channels = path.next_channels(position, state, groups)
        if channels is None:
            if not path.may_relax(position, state, groups):
                break
            state = path.relaxed(state)
            continue
        attempt = path.attempt(position, channels, number=len(candidates))
        if not path.budget.spent() and path.misses_narrowly(attempt.result.metric(judged), state):
            attempt = path.attempt_again(attempt, number=len(candidates))
        kept, reason = path.decide(attempt.result.metric(judged), state)
        candidates.append(path.candidate(len(candidates), attempt, kept=kept, reason=reason))
        path.tell(candidates[-1], judged)
        state = path.renewed(state, attempt) if kept else path.narrowed(state, position, attempt, groups)
        position = attempt if kept else position
        if kept:
            judged, state = _choose_again(path, position, judged, state)
    _say_why_it_ended(path, position, trials=len(candidates) - 1)
    return PruningResult(
        model=position.model,
        metric=position.result.metric(judged),
        baseline=path.baseline,
        channels={name: (count, position.channels[name]) for name, count in before.items()},
        steps=(),
        candidates=tuple(candidates),
        passes=path.budget.passes,
    )


def _choose_again(
    path: SearchPath, position: Position, judged: tuple[str, ...], state: SearchState
) -> tuple[tuple[str, ...], SearchState]:
    """Return the variants that the next steps are judged as: in a smaller model another one may be the fastest."""
    chosen = path.choose_variants(position.result, drop=state.drop)
    if not path.settings.by_latency or chosen == judged:
        return judged, state
    path.observer.decided(f"steps are judged as {' and '.join(chosen)} from here on")
    return chosen, replace(state, measure=path.measure_cost(position, chosen))


def _say_why_it_ended(path: SearchPath, position: Position, *, trials: int) -> None:
    if position.result.excess == 0:
        reason = "the constraints are met"
    else:
        reason = path.budget.spent(trials=trials) or "no further step keeps the metric"
    path.observer.decided(f"the search ends: {reason}")
