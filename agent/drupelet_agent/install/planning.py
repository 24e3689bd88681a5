"""Plans a package on this device: its resources, its measurements, and the choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.config.tuning import TuningConfig
from drupelet_agent.device import probe
from drupelet_agent.device.snapshot import Snapshot
from drupelet_agent.install import measurement_cache
from drupelet_agent.install.tuner import Result, Tuner
from drupelet_agent.planning import budget, candidates, choice
from drupelet_agent.planning.budget import Budget, Cores
from drupelet_agent.planning.candidates import Goal, PlanCandidate, Rejection
from drupelet_agent.planning.choice import CandidateMeasurement
from drupelet_agent.serving.workers.port import Spawn
from drupelet_agent.serving.workers.worker_process import WorkerProcess
from drupelet_agent.store.measurements import KeptMeasurements
from drupelet_agent.store.store import Store
from drupelet_shared.contract.messages import Plan
from drupelet_shared.package.manifest import Manifest

Observe = Callable[[Literal["golden_check", "measured"], str], None]


@dataclass(frozen=True, slots=True)
class Planned:
    """The result of planning.

    Attributes:
        variant: The variant to run.
        plan: How to run it.
        measurements: All measurements of the package.
    """

    variant: str
    plan: Plan
    measurements: KeptMeasurements


@dataclass(frozen=True, slots=True)
class Means:
    """The resources that a model may use on this device now, and the goal of its plan.

    Attributes:
        snapshot: The device's resources.
        budget: The memory for the model.
        cores: The cores for the model.
        goal: The goal of the plan.
        tuning: How long to measure.
    """

    snapshot: Snapshot
    budget: Budget
    cores: Cores
    goal: Goal
    tuning: TuningConfig


def means_for(
    model: str,
    digest: str,
    *,
    config: AgentConfig,
    store: Store,
    read_snapshot: Callable[[], Snapshot] = probe.take_snapshot,
) -> Means:
    """Determine the resources for one package of a model beside all other active packages.

    Args:
        model: The model's name.
        digest: The package's digest.
        config: The agent's configuration.
        store: The store.
        read_snapshot: Reads the resources of the device.

    Returns:
        The memory and cores as of now, and the goal from the configuration.
    """
    snapshot = read_snapshot()
    tuning = config.tuning_of(model)
    return Means(
        snapshot=snapshot,
        budget=budget.memory_budget(
            snapshot,
            limit_bytes=config.limits.models_bytes,
            share=config.limits.memory_share,
            in_use_bytes=_in_use_bytes(model, digest, config=config, store=store),
        ),
        cores=budget.core_share(
            snapshot,
            limit=config.limits.cpu_cores,
            others=[other for other in store.active() if other != model],
            policy=tuning.cores,
        ),
        goal=Goal(
            objective=tuning.objective,
            p99_bound_ms=tuning.max_p99_ms,
            contract_p99_ms=config.contract_of(model).p99_ms,
        ),
        tuning=tuning,
    )


def make_plan(
    manifest: Manifest,
    folder: Path,
    *,
    means: Means,
    known: KeptMeasurements,
    fresh: bool,
    observe: Observe,
    spawn: Spawn = WorkerProcess,
) -> Planned:
    """Measure the candidates that are not known yet, and choose a plan.

    Args:
        manifest: The package's manifest.
        folder: The unpacked, verified package.
        means: The resources that the model may use.
        known: Earlier measurements of this package.
        fresh: Measure known candidates again.
        observe: Called for each variant that agrees with its golden vectors, and for each candidate's result.
        spawn: Starts a worker.

    Returns:
        The plan, and all measurements of the package.

    Raises:
        PlanError: No variant runs, fits in memory or keeps its contract.
    """
    tried, rejected = _candidates(manifest, means)
    key = measurement_cache.conditions_key(means.snapshot, means.tuning)
    recalled: dict[tuple[str, int, int], CandidateMeasurement] = {}
    for candidate in tried:
        measurement = None if fresh else measurement_cache.look_up(known, key, candidate)
        if measurement is not None:
            recalled[candidate.key] = measurement
            observe("measured", f"{_describe(measurement)} (known)")
    tuner = Tuner(folder, budget=means.budget, config=means.tuning, spawn=spawn)
    unknown = [candidate for candidate in tried if candidate.key not in recalled]
    measured = {result.candidate.key: result for result in tuner.measure(unknown, observe=_ResultObserver(observe))}
    results = [recalled.get(candidate.key) or measured[candidate.key] for candidate in tried]
    measurements = [result for result in results if isinstance(result, CandidateMeasurement)]
    rejections = [*rejected, *(result for result in results if isinstance(result, Rejection))]
    chosen = _choose_checked(tuner, measurements, rejections, recalled=list(recalled.values()), means=means)
    return Planned(
        variant=chosen.candidate.variant.id,
        plan=choice.to_plan(
            chosen, measurements, budget=means.budget, cores=means.cores, goal=means.goal, rejections=rejections
        ),
        measurements=measurement_cache.add(known, key, measurements),
    )


class _ResultObserver:
    """Reports each result, and each variant once when it agrees with its golden vectors."""

    def __init__(self, observe: Observe) -> None:
        self._observe = observe
        self._agreeing: set[str] = set()

    def __call__(self, result: Result) -> None:
        variant = result.candidate.variant.id
        if isinstance(result, CandidateMeasurement) and variant not in self._agreeing:
            self._agreeing.add(variant)
            self._observe("golden_check", f"{variant} answers its golden vectors as on the host")
        self._observe("measured", _describe(result))


def _choose_checked(
    tuner: Tuner,
    measurements: list[CandidateMeasurement],
    rejections: list[Rejection],
    *,
    recalled: list[CandidateMeasurement],
    means: Means,
) -> CandidateMeasurement:
    """Choose a candidate; a recalled one is compared with its golden vectors first."""
    while True:
        chosen = choice.choose(measurements, rejections, budget=means.budget, goal=means.goal)
        if chosen not in recalled:
            return chosen
        rejection = tuner.check(chosen.candidate)
        if rejection is None:
            return chosen
        measurements.remove(chosen)
        rejections.append(rejection)


def _candidates(manifest: Manifest, means: Means) -> tuple[list[PlanCandidate], list[Rejection]]:
    cores, tuning = means.cores.count, means.tuning
    return candidates.candidates(
        manifest.variants,
        threads=candidates.thread_counts(cores, configured=tuning.threads),
        instances=candidates.instance_counts(cores, configured=tuning.instances, goal=means.goal),
        cores=cores,
        budget=means.budget,
    )


def _in_use_bytes(model: str, digest: str, *, config: AgentConfig, store: Store) -> int:
    """Return the memory of the releases that stay loaded beside the package; 0 if all others may be evicted."""
    if config.limits.evict != "never":
        return 0
    total = 0
    for name in store.models():
        record = store.record(name)
        releases = [known for known in (record.active, record.previous) if known is not None]
        count = config.limits.versions
        if name == model:
            releases = [known for known in releases if known.digest != digest]
            count -= 1
        total += sum(known.plan.footprint_bytes for known in releases[:count])
    return total


def _describe(result: Result) -> str:
    candidate = result.candidate
    name = f"{candidate.variant.id} on {candidate.threads} threads"
    if candidate.instances > 1:
        name = f"{candidate.instances} instances of {name}"
    if isinstance(result, Rejection):
        return f"{name}: {result.reason}"
    timing = result.timing
    return (
        f"{name}: p50 {timing.p50_ms:.2f} ms, p99 {timing.p99_ms:.2f} ms in {timing.runs} runs, "
        f"{result.throughput_per_s:.1f}/s"
    )
