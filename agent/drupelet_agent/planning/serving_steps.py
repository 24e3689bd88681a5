"""Target state against current state gives steps: a pure function."""

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
    """Serve another release or plan of a model, without a gap."""

    activation: Activation


@dataclass(frozen=True, slots=True)
class Stop:
    """Serve a model no longer."""

    model: str


Step = Start | Replace | Stop


def reconcile(target: Mapping[str, Activation], current: Mapping[str, Activation]) -> tuple[Step, ...]:
    """The steps that lead from what is served to what should be, models in alphabetical order, stops first.

    Args:
        target: The active release of each model in the store.
        current: What is served, or being started, for each model.
    """
    stops = [Stop(model) for model in sorted(current.keys() - target.keys())]
    starts = [Start(target[model]) for model in sorted(target.keys() - current.keys())]
    changed = [model for model in sorted(target.keys() & current.keys()) if target[model] != current[model]]
    return (*stops, *starts, *(Replace(target[model]) for model in changed))


def runs_alike(running: Activation, wanted: Activation) -> bool:
    """Whether workers started for one activation serve another as well: only what is told about them differs."""
    old, new = running.plan, wanted.plan
    return (running.digest, running.variant, old.threads, old.instances) == (
        wanted.digest,
        wanted.variant,
        new.threads,
        new.instances,
    )


def served_beside(record: ModelRecord, *, versions: int) -> Activation | None:
    """The release that is served beside the active one, for those who ask for its version.

    Args:
        record: What the store knows of the model.
        versions: How many releases of a model are served at once.
    """
    active, previous = record.active, record.previous
    if versions == 1 or active is None or previous is None:
        return None
    # A newer one was rolled back from, and two of one version cannot be told apart.
    is_older = previous.release < active.release and previous.version != active.version
    return previous if is_older else None


def describe(step: Step) -> str:
    """A step in the words of the log."""
    match step:
        case Stop(model):
            return f"stop model={model}"
        case Start(activation) | Replace(activation):
            return (
                f"{type(step).__name__.lower()} model={activation.model} release={activation.release} "
                f"variant={activation.variant} threads={activation.plan.threads} "
                f"instances={activation.plan.instances}"
            )
