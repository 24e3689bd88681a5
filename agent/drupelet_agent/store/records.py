"""The records of the store: the releases of each model, their plans, and the changes that led to them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from drupelet_shared.contract.messages import Plan, PlanChange
from drupelet_shared.names import Name, Sha256
from drupelet_shared.tensors import TensorSpec

_CHANGES_KEPT = 10


class StoredRecord(BaseModel):
    """A file of the store; fields that a newer agent has written are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Activation(StoredRecord):
    """One release as this device runs it."""

    model: Name
    version: Name
    release: Annotated[int, Field(ge=1)]
    digest: Sha256
    signed_by: str | None
    variant: Name
    plan: Plan
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class ModelRecord(StoredRecord):
    """The content of `models/<model>.json`; `changes` are the latest, oldest first.

    `staged` is installed and waits for its activation. The record of a model that was removed has none of the three,
    and still the highest release with its digest: that package may come back, and what is older may not.
    """

    highest_release: Annotated[int, Field(ge=0)] = 0
    highest_digest: Sha256 | None = None
    active: Activation | None = None
    previous: Activation | None = None
    staged: Activation | None = None
    changes: tuple[PlanChange, ...] = ()

    @property
    def releases(self) -> tuple[Activation, ...]:
        """Every release whose package is kept."""
        return tuple(known for known in (self.active, self.previous, self.staged) if known is not None)

    def changed(
        self,
        change: PlanChange,
        *,
        active: Activation | None,
        previous: Activation | None,
        staged: Activation | None = None,
    ) -> ModelRecord:
        """Return the record after a change.

        Args:
            change: The change.
            active: The active release after it.
            previous: The previous release after it.
            staged: The staged release after it.
        """
        highest, digest = self.highest_release, self.highest_digest
        if active is not None and active.release >= highest:
            highest, digest = active.release, active.digest
        return ModelRecord(
            highest_release=highest,
            highest_digest=digest,
            active=active,
            previous=previous,
            staged=staged,
            changes=(*self.changes, change)[-_CHANGES_KEPT:],
        )
