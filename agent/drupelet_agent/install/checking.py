"""The check of an active model: golden vectors, and latency against its contract."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.install.activation import MEASURING_TIMEOUT_S, stored_manifest
from drupelet_agent.install.tuner import Result, Tuner
from drupelet_agent.planning.budget import Budget
from drupelet_agent.planning.candidates import PlanCandidate, Rejection
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store


@dataclass(frozen=True, slots=True)
class ContractCheck:
    """The result of a check.

    Attributes:
        model: The model.
        release: Its active release.
        variant: The variant that it runs.
        golden: Whether its outputs agree with the golden vectors.
        p99_ms: The p99 that was measured now; None if it did not run.
        planned_p99_ms: The p99 that was measured for the plan.
        limit_p99_ms: The p99 that the contract allows; None if it has no limit.
        fault: A description of the fault; None if there is none.
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
        """Return the result as JSON values."""
        return asdict(self)


def check(model: str, config: AgentConfig) -> ContractCheck:
    """Compare a model with its golden vectors and measure it, in workers beside those that serve.

    Args:
        model: The model.
        config: The agent's configuration.

    Raises:
        StoreError: The model is not installed, or another process measures.
    """
    store = Store(config.state_dir)
    active = store.require_active(model)
    folder = store.package_folder(active.digest)
    candidate = PlanCandidate(
        variant=stored_manifest(folder).variant(active.variant),
        threads=active.plan.threads,
        instances=active.plan.instances,
    )
    budget = Budget(active.plan.memory_budget_bytes, "the plan's memory budget")
    tuner = Tuner(folder, budget=budget, config=config.tuning_of(model))
    with store.measuring(timeout_s=MEASURING_TIMEOUT_S):
        (result,) = tuner.measure([candidate], observe=lambda _: None)
    return _compare(active, result, limit_ms=config.contract_of(model).p99_limit_ms(active.plan.p99_ms))


def _compare(active: Activation, result: Result, *, limit_ms: float | None) -> ContractCheck:
    p99_ms = None if isinstance(result, Rejection) else result.timing.p99_ms
    fault = None
    if isinstance(result, Rejection):
        fault = result.reason
    elif limit_ms is not None and result.timing.p99_ms > limit_ms:
        fault = f"p99 is {result.timing.p99_ms:.2f} ms: the contract allows {limit_ms:.2f} ms"
    return ContractCheck(
        model=active.model,
        release=active.release,
        variant=active.variant,
        golden=p99_ms is not None,
        p99_ms=p99_ms,
        planned_p99_ms=active.plan.p99_ms,
        limit_p99_ms=limit_ms,
        fault=fault,
    )
