"""The steps from the current state of serving to the target state: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drupelet_agent.store.records import Activation, ModelRecord


@dataclass(frozen=True, slots=True)
class Start:
    """Serve a model that is not served now."""

    activation: Activation


@dataclass(frozen=True, slots=True)
class Replace:
    """Serve another release or plan of a model."""

    activation: Activation


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop serving a model."""

    model: str


Step = Start | Replace | Stop


def reconcile(target: Mapping[str, Activation], current: Mapping[str, Activation]) -> tuple[Step, ...]:
    """Return the steps from the current state to the target state: stops first, models in alphabetical order.

    Args:
        target: The active release of each model in the store.
        current: The release of each model that is served or is being started.
    """
    stops = [Stop(model) for model in sorted(current.keys() - target.keys())]
    starts = [Start(target[model]) for model in sorted(target.keys() - current.keys())]
    changed = [model for model in sorted(target.keys() & current.keys()) if target[model] != current[model]]
    return (*stops, *starts, *(Replace(target[model]) for model in changed))


def runs_alike(running: Activation, target: Activation) -> bool:
    """Return whether the workers of one activation can serve another: only the numbers of their plans differ."""
    old, new = running.plan, target.plan
    return (running.digest, running.variant, old.threads, old.instances) == (
        target.digest,
        target.variant,
        new.threads,
        new.instances,
    )


def served_beside(record: ModelRecord, *, versions: int) -> Activation | None:
    """Return the release that is served besides the active one, for requests that name its version; None if none is.

    Args:
        record: What the store knows of the model.
        versions: How many releases of a model are served at once.
    """
    active, previous = record.active, record.previous
    if versions == 1 or active is None or previous is None:
        return None
    # A newer release was rolled back from. Two releases with one version cannot be addressed separately.
    is_older = previous.release < active.release and previous.version != active.version
    return previous if is_older else None


def describe(step: Step) -> str:
    """Return a step as the tail of a log line."""
    match step:
        case Stop(model):
            return f"stop model={model}"
        case Start(activation) | Replace(activation):
            return (
                f"{type(step).__name__.lower()} model={activation.model} release={activation.release} "
                f"variant={activation.variant} threads={activation.plan.threads} "
                f"instances={activation.plan.instances}"
            )
