"""The messages of `command/<name>`: one request and one result for each command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from drupelet_shared.contract.measuring import (
    MeasureReport,
    MeasureRequest,
    ProfileReport,
    ProfileRequest,
    Release,
)
from drupelet_shared.contract.messages import Count, Plan, PlanChange
from drupelet_shared.contract.sources import Source
from drupelet_shared.names import Name, Sha256

Stage = Literal[
    "fetching",
    "received",
    "verified",
    "golden_check",
    "measured",
    "tuned",
    "staged",
    "active",
    "removed",
    "profiling",
    "measuring",
    "waiting",
]


class _Message(BaseModel):
    # A newer peer may send fields that this version does not know.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def to_bytes(self) -> bytes:
        """Return the MQTT payload, UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()


class InstallRequest(_Message):
    """`command/install`: fetch a package and make it the active release of its model.

    Attributes:
        source: `upload:<SHA-256 of the file>`, an `https://` URL, or a `file:///` URL of a file on the device.
        model: The model that the package must contain; any by default.
        version: The version that the package must have; any by default.
        digest: The digest that the package must have; any by default.
        activate: False verifies, measures and stages the package; `activate` makes it active later.
    """

    source: Source
    model: Name | None = None
    version: Name | None = None
    digest: Sha256 | None = None
    activate: bool = True


class ActivateRequest(_Message):
    """`command/activate`: run a release that is installed and newer than the active one.

    Attributes:
        model: The model.
        release: The release to activate; the newest by default.
    """

    model: Name
    release: Release | None = None


class RollBackRequest(_Message):
    """`command/rollback`: run the release before the active one again.

    Attributes:
        model: The model.
        from_release: The active release that the sender expects; the command is refused if another one is active, so
            that a command that is delivered twice rolls back once.
    """

    model: Name
    from_release: Release | None = None


class RemoveRequest(_Message):
    """`command/remove`: stop serving a model and delete its packages.

    Attributes:
        model: The model.
    """

    model: Name


class ListRequest(_Message):
    """`command/list`: everything that is installed."""


class TuneRequest(_Message):
    """`command/tune`: measure the active release again and update its plan.

    Attributes:
        model: The model.
    """

    model: Name


class CommandProgress(_Message):
    """One step of a running command; any number of them precede the result or the error.

    Attributes:
        command: The command's name.
        stage: The stage that was reached.
        detail: For people.
        done_bytes: For `fetching`: bytes received.
        total_bytes: For `fetching`: the size, if the server states it.
    """

    command: str
    stage: Stage
    detail: str
    done_bytes: Count | None = None
    total_bytes: Count | None = None


class InstalledRelease(_Message):
    """One release in a device's store.

    Attributes:
        model: The model.
        version: For people.
        release: The number that only grows.
        digest: Of the package.
        variant: The variant that this device chose.
        plan: How it runs.
        signed_by: The id of the key that signed it; absent where signatures are not checked.
    """

    model: Name
    version: Name
    release: Release
    digest: Sha256
    variant: Name
    plan: Plan
    signed_by: str | None = None


class InstalledModel(_Message):
    """The releases of one model in a device's store.

    Attributes:
        model: The model.
        highest_release: The highest this device has activated; lower ones are refused.
        active: The release that answers.
        previous: The release that a roll back activates.
        staged: The release that waits for `activate`.
        changes: The latest changes, the oldest first.
    """

    model: Name
    highest_release: Count
    active: InstalledRelease | None = None
    previous: InstalledRelease | None = None
    staged: InstalledRelease | None = None
    changes: tuple[PlanChange, ...] = ()


class InstalledModels(_Message):
    """The answer to `list`.

    Attributes:
        models: What is installed.
        free_bytes: Free space where packages are stored.
    """

    models: tuple[InstalledModel, ...]
    free_bytes: Count


class Removed(_Message):
    """The answer to `remove`.

    Attributes:
        model: The model.
        release: The one that was active.
        freed_bytes: The size of the deleted packages.
    """

    model: Name
    release: Release
    freed_bytes: Count


@dataclass(frozen=True, slots=True)
class Exchange:
    """The messages of one command."""

    request: type[BaseModel]
    result: type[BaseModel]


EXCHANGES: Mapping[str, Exchange] = {
    "install": Exchange(InstallRequest, InstalledRelease),
    "activate": Exchange(ActivateRequest, InstalledRelease),
    "rollback": Exchange(RollBackRequest, InstalledRelease),
    "remove": Exchange(RemoveRequest, Removed),
    "list": Exchange(ListRequest, InstalledModels),
    "tune": Exchange(TuneRequest, InstalledRelease),
    "profile": Exchange(ProfileRequest, ProfileReport),
    "measure": Exchange(MeasureRequest, MeasureReport),
}
