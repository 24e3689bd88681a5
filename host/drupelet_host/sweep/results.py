"""The results of runs, the frontier over all of them, and the best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drupelet_host.selection.pareto import pareto_front
from drupelet_host.sweep.document import BestSection
from drupelet_host.sweep.runs import Run
from drupelet_shared.files import write_atomically

RESULT_FILE = "result.json"
State = Literal["done", "not_met", "failed"]


class VariantResult(BaseModel):
    """One variant of a run's package.

    Attributes:
        variant: Its id.
        metric: The metric.
        size_bytes: The size of its files.
        p50_ms: The median latency.
        latency_source: Where the latency comes from.
    """

    model_config = ConfigDict(frozen=True)

    variant: str
    metric: float
    size_bytes: int
    p50_ms: float
    latency_source: str


class RunResult(BaseModel):
    """What became of a run.

    Attributes:
        digest: The digest of the run that this is the result of.
        state: Whether it has a package, missed a constraint, or failed.
        metric_name: What the metric is called.
        original_metric: The metric of the original.
        variants: The variants of the package, the leading one first.
        package: The package; None without one.
        code: The code of the error; None where it has a package.
        message: The error in words.
        seconds: How long it took.
    """

    model_config = ConfigDict(frozen=True)

    digest: str
    state: State
    metric_name: str = ""
    original_metric: float | None = None
    variants: tuple[VariantResult, ...] = ()
    package: Path | None = None
    code: str | None = None
    message: str = ""
    seconds: Annotated[float, Field(ge=0)] = 0.0

    @property
    def lead(self) -> VariantResult:
        """The variant that a device tries first; only of a run that is done."""
        return self.variants[0]


class SweepPoint(BaseModel):
    """A variant on the frontier.

    Attributes:
        run: The name of the run.
        variant: The variant.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    variant: VariantResult


def read_result(run: Run) -> RunResult | None:
    """Return the result that a run has left; None where it has none, or another recipe made it."""
    try:
        result = RunResult.model_validate_json((run.folder / RESULT_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    if result.digest != run.digest or (result.package is not None and not result.package.is_file()):
        return None
    return result


def write_result(run: Run, result: RunResult) -> None:
    """Write the result of a run to its folder."""
    run.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(run.folder / RESULT_FILE, result.model_dump_json(indent=2).encode())


def find_best(results: Sequence[tuple[Run, RunResult]], rule: BestSection) -> str | None:
    """Return the name of the best run by the rule; None where no run is within it."""

    def order(entry: tuple[int, tuple[Run, RunResult]]) -> tuple[float, ...]:
        number, (_, result) = entry
        lead = result.lead
        first = {"metric": -lead.metric, "size": float(lead.size_bytes), "latency": lead.p50_ms}[rule.by]
        return first, -lead.metric, float(lead.size_bytes), lead.p50_ms, float(number)

    allowed = [
        (number, (run, result))
        for number, (run, result) in enumerate(results)
        if result.state == "done" and (rule.min_metric is None or result.lead.metric >= rule.min_metric)
    ]
    return min(allowed, key=order)[1][0].name if allowed else None


def find_frontier(results: Iterable[tuple[Run, RunResult]], *, by: Literal["size", "latency"]) -> list[SweepPoint]:
    """Return the variants of all runs that no other is better than in metric and cost, the cheapest first."""
    points = [SweepPoint(run=run.name, variant=variant) for run, result in results for variant in result.variants]
    return pareto_front(
        points,
        cost=lambda point: float(point.variant.size_bytes) if by == "size" else point.variant.p50_ms,
        value=lambda point: point.variant.metric,
    )


def describe_rule(rule: BestSection) -> str:
    """Return the rule as a sentence."""
    first = {
        "metric": "the highest metric of the leading variant",
        "size": "the smallest leading variant",
        "latency": "the fastest leading variant",
    }[rule.by]
    limit = "" if rule.min_metric is None else f" with a metric of at least {rule.min_metric:g}"
    return (
        f"best is {first}{limit}, among the runs that meet their constraints; of equal ones the higher metric, the "
        "smaller, the faster, the first"
    )
