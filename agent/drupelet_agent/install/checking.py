"""Whether an active model still answers as it did on the host, and as fast as its contract wants."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from drupelet_agent.config.sections import AgentConfig
from drupelet_agent.install import tuner
from drupelet_agent.install.activation import MEASURING_TIMEOUT_S, stored_manifest
from drupelet_agent.planning.budget import Budget
from drupelet_agent.planning.choice import Candidate, Rejection
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found.

    Attributes:
        model: The model.
        release: Its active release.
        variant: What it runs.
        golden: Whether its outputs are those of the golden vectors.
        p99_ms: What was measured now; None if it did not run.
        planned_p99_ms: What was measured when the plan was made.
        limit_p99_ms: What the contract allows; None if it says nothing.
        fault: What is wrong, in words; None if nothing is.
    """

    model: str
    release: int
    variant: str
    golden: bool
    p99_ms: float | None
    planned_p99_ms: float
    limit_p99_ms: float | None
    fault: str | None

    def as_json(self) -> dict[str, object]:
        """The verdict as JSON values."""
        return asdict(self)


def check(model: str, config: AgentConfig) -> Verdict:
    """Run the golden vectors and measure, in workers beside those that serve.

    Args:
        model: The model.
        config: The agent's configuration.

    Raises:
        StoreError: The model is not installed, or another process measures.
    """
    store = Store(config.state_dir)
    active = store.require_active(model)
    folder = store.package_folder(active.digest)
    candidate = Candidate(
        variant=stored_manifest(folder).variant(active.variant),
        threads=active.plan.threads,
        instances=active.plan.instances,
    )
    budget = Budget(active.plan.memory_budget_bytes, "the plan's memory budget")
    with store.measuring(timeout_s=MEASURING_TIMEOUT_S):
        result = tuner.measure(folder, candidate, budget=budget, config=config.tuning_of(model))
    return _judge(active, result, limit_ms=config.contract_of(model).p99_limit_ms(active.plan.p99_ms))


def _judge(active: Activation, result: tuner.Result, *, limit_ms: float | None) -> Verdict:
    p99_ms = None if isinstance(result, Rejection) else result.timing.p99_ms
    fault = None
    if isinstance(result, Rejection):
        fault = result.reason
    elif limit_ms is not None and result.timing.p99_ms > limit_ms:
        fault = f"p99 is {result.timing.p99_ms:.2f} ms: the contract allows {limit_ms:.2f} ms"
    return Verdict(
        model=active.model,
        release=active.release,
        variant=active.variant,
        golden=p99_ms is not None,
        p99_ms=p99_ms,
        planned_p99_ms=active.plan.p99_ms,
        limit_p99_ms=limit_ms,
        fault=fault,
    )
