"""The configuration of how a model is measured, and of what a release must keep while it serves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from drupelet_agent.config.section import Section

Objective = Literal["latency", "throughput"]


class TuningConfig(Section):
    """How variants are measured at installation, and which one is the best.

    Attributes:
        objective: `latency` selects the lowest p99, and the lowest median among those within its error; `throughput`
            selects the most inferences per second.
        max_p99_ms: The highest p99 that `throughput` may select.
        threads: The numbers of threads to measure; by default powers of two up to the number of cores.
        instances: The numbers of workers to measure; by default 1 for latency, and powers of two up to the number of
            cores for throughput.
        cores: `shared` lets every model use all cores; `split` gives each model an equal part of them.
        warmup: The number of runs before the measurement.
        runs: The number of runs to measure of each candidate; up to ten times as many if candidates are tied.
        max_seconds: The longest time to measure one candidate.
        total_seconds: The longest time to load, check and measure all candidates of one package.
    """

    objective: Objective = "latency"
    max_p99_ms: Annotated[float, Field(gt=0)] | None = None
    threads: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    instances: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    cores: Literal["shared", "split"] = "shared"
    warmup: Annotated[int, Field(ge=0)] = 5
    runs: Annotated[int, Field(ge=1)] = 100
    max_seconds: Annotated[float, Field(gt=0)] = 3.0
    total_seconds: Annotated[float, Field(gt=0)] = 180.0


class RetuneConfig(Section):
    """When a running agent measures again.

    Attributes:
        enabled: Whether a running agent measures again by itself.
        look_s: The time between two checks of the device and of the served requests.
        confirm: The number of consecutive checks that must agree before the agent acts.
        min_interval_s: The shortest time between two measurements of a model; it grows with each repeated measurement.
        drift_factor: The ratio of the served p99 to that of the plan from which on the plan is outdated.
    """

    enabled: bool = True
    look_s: Annotated[float, Field(ge=0.1)] = 10.0
    confirm: Annotated[int, Field(ge=1)] = 6
    min_interval_s: Annotated[float, Field(ge=0)] = 900.0
    drift_factor: Annotated[float, Field(gt=1)] = 2.0


class ContractConfig(Section):
    """What a release must keep while it serves; otherwise the agent rolls back to the release before it.

    Attributes:
        p99_ms: The highest p99 of an inference; a package that cannot reach it is not activated.
        factor: The highest p99 of an inference as a multiple of that of the plan.
        error_rate: The highest share of requests on which the engine or the worker fails.
        window_s: The shortest time over which the contract is judged.
        min_requests: The smallest number of requests over which the contract is judged.
    """

    p99_ms: Annotated[float, Field(gt=0)] | None = None
    factor: Annotated[float, Field(gt=1)] | None = None
    error_rate: Annotated[float, Field(gt=0, le=1)] | None = 0.5
    window_s: Annotated[float, Field(gt=0)] = 60.0
    min_requests: Annotated[int, Field(ge=1)] = 20

    def p99_limit_ms(self, planned_p99_ms: float) -> float | None:
        """Return the highest p99 for a plan; None if the contract has no limit."""
        by_factor = self.factor * planned_p99_ms if self.factor is not None else None
        return min((limit for limit in (self.p99_ms, by_factor) if limit is not None), default=None)


class ModelConfig(Section):
    """The settings of one model.

    Attributes:
        objective: Replaces `tuning.objective`.
        max_p99_ms: Replaces `tuning.max_p99_ms`.
        contract: Replaces the whole section `contract`.
        count_labels: Count the labels that a detection model finds, or the verdicts of an anomaly detector, in its
            telemetry and for Home Assistant.
    """

    objective: Objective | None = None
    max_p99_ms: Annotated[float, Field(gt=0)] | None = None
    contract: ContractConfig | None = None
    count_labels: bool = False
