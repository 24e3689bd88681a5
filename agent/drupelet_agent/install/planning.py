"""A package's plan on this device: what may be used, what was measured or is still known, and the choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drupelet_agent.config.sections import AgentConfig, TuningConfig
from drupelet_agent.device import probe
from drupelet_agent.device.snapshot import Snapshot
from drupelet_agent.install import kept_measurements as kept
from drupelet_agent.install import tuner
from drupelet_agent.planning import budget
from drupelet_agent.planning import choice as planner
from drupelet_agent.planning.budget import Budget, Cores
from drupelet_agent.planning.choice import Candidate, Goal, Measurement, Rejection
from drupelet_agent.store.measurements import KeptMeasurements
from drupelet_agent.store.store import Store
from drupelet_shared.contract.messages import Plan
from drupelet_shared.package.manifest import Manifest

Observe = Callable[[Literal["golden_check", "measured"], str], None]


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, the variant it runs, and what is now known of the package."""

    variant: str
    plan: Plan
    measurements: KeptMeasurements


@dataclass(frozen=True, slots=True)
class Means:
    """What a model may use on this device now, and what is wanted of it."""

    snapshot: Snapshot
    budget: Budget
    cores: Cores
    goal: Goal
    tuning: TuningConfig


def means_for(model: str, digest: str, *, config: AgentConfig, store: Store) -> Means:
    """What one package of a model may use beside everything else that is active.

    Args:
        model: The model's name.
        digest: The package's.
        config: The agent's configuration.
        store: The store.
    """
    snapshot = probe.take_snapshot()
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
    manifest: Manifest, folder: Path, *, means: Means, known: KeptMeasurements, fresh: bool, observe: Observe
) -> Planned:
    """Measure what is not known yet, and choose.

    Args:
        manifest: The package's manifest.
        folder: The unpacked, verified package.
        means: What it may use.
        known: Earlier measurements of this package.
        fresh: Whether to measure again what is known.
        observe: Told of each variant that answers as it did on the host, and of each candidate's result.

    Raises:
        PlanError: No variant runs, fits in memory or keeps its contract.
    """
    tried, rejected = _candidates(manifest, means)
    key = kept.key_of(means.snapshot, means.tuning)
    agreeing: set[str] = set()
    recalled: list[Measurement] = []
    results: list[tuner.Result] = []
    for candidate in tried:
        before = None if fresh else kept.recall(known, key, candidate)
        if before is not None:
            recalled.append(before)
            results.append(before)
            observe("measured", f"{_describe(before)} (known)")
        else:
            results.append(tuner.measure(folder, candidate, budget=means.budget, config=means.tuning))
            variant = candidate.variant.id
            if isinstance(results[-1], Measurement) and variant not in agreeing:
                agreeing.add(variant)
                observe("golden_check", f"{variant} answers its golden vectors as on the host")
            observe("measured", _describe(results[-1]))
    measurements = [result for result in results if isinstance(result, Measurement)]
    rejections = [*rejected, *(result for result in results if isinstance(result, Rejection))]
    chosen = _choose_checked(folder, measurements, rejections, recalled=recalled, means=means)
    return Planned(
        variant=chosen.candidate.variant.id,
        plan=planner.to_plan(chosen, measurements, budget=means.budget, cores=means.cores, goal=means.goal),
        measurements=kept.remember(known, key, measurements),
    )


def _choose_checked(
    folder: Path,
    measurements: list[Measurement],
    rejections: list[Rejection],
    *,
    recalled: list[Measurement],
    means: Means,
) -> Measurement:
    """The choice; one that was not started just now is compared with its golden vectors before it counts."""
    while True:
        chosen = planner.choose(measurements, rejections, budget=means.budget, goal=means.goal)
        if chosen not in recalled:
            return chosen
        rejection = tuner.check(folder, chosen.candidate, budget=means.budget)
        if rejection is None:
            return chosen
        measurements.remove(chosen)
        rejections.append(rejection)


def _candidates(manifest: Manifest, means: Means) -> tuple[list[Candidate], list[Rejection]]:
    cores, tuning = means.cores.count, means.tuning
    return planner.candidates(
        manifest.variants,
        threads=planner.thread_counts(cores, configured=tuning.threads),
        instances=planner.instance_counts(cores, configured=tuning.instances, goal=means.goal),
        cores=cores,
        budget=means.budget,
    )


def _in_use_bytes(model: str, digest: str, *, config: AgentConfig, store: Store) -> int:
    """What stays in memory beside the package; nothing where all others may have to yield."""
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


def _describe(result: tuner.Result) -> str:
    what = f"{result.candidate.variant.id} on {result.candidate.threads} threads"
    if result.candidate.instances > 1:
        what = f"{result.candidate.instances} instances of {what}"
    if isinstance(result, Rejection):
        return f"{what}: {result.reason}"
    timing = result.timing
    return f"{what}: p50 {timing.p50_ms:.2f} ms, p99 {timing.p99_ms:.2f} ms, {result.throughput_per_s:.1f}/s"
