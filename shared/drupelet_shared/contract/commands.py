"""The messages of `command/<name>`: one request and one result for each command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from drupelet_shared.contract.messages import Plan, PlanChange
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
]
Release = Annotated[int, Field(ge=1)]


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


class ProfileRequest(_Message):
    """`command/profile`: measure the time of each operator, in a separate worker process.

    Attributes:
        model: The model.
        variant: A variant of its active release; by default the one that is served.
        runs: Inferences to record; fewer for a model with very many operators.
    """

    model: Name
    variant: Name | None = None
    runs: Annotated[int, Field(ge=1, le=1000)] = 30


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
    done_bytes: int | None = None
    total_bytes: int | None = None


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
    highest_release: int
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
    free_bytes: int


class Removed(_Message):
    """The answer to `remove`.

    Attributes:
        model: The model.
        release: The one that was active.
        freed_bytes: The size of the deleted packages.
    """

    model: Name
    release: Release
    freed_bytes: int


class OperatorTime(_Message):
    """The time of one operator in an inference.

    Attributes:
        name: The operator's name in the graph that the engine runs, after its optimisations.
        type: What it computes, as the engine calls it.
        output: Type and shape of its output, where the engine reports them.
        calls: How often it runs in one inference.
        mean_ms: The mean of all calls together, including the operators inside it.
        self_ms: The median without those inside.
        p50_ms: The median with them; absent in reports of older agents, whose `self_ms` is a mean.
        self_mean_ms: The mean without those inside.
        parent: The position of the operator that contains it in a subgraph; absent at the top level.
    """

    name: str
    type: str
    output: str | None = None
    calls: float
    mean_ms: float
    self_ms: float
    p50_ms: float | None = None
    self_mean_ms: float | None = None
    parent: int | None = None


class ProfileReport(_Message):
    """The answer to `profile`.

    Attributes:
        model: The model.
        version: For people.
        release: The active one.
        variant: The one that was profiled.
        engine: The engine that ran it.
        engine_version: Its version.
        threads: Threads it had.
        runs: Inferences that were recorded.
        mean_ms: One inference as a whole, recording included, which slows it down.
        p50_ms: Half of them took no longer.
        p99_ms: 99 of 100 took no longer.
        operators: In the order they ran.
        note: What to know about the times, such as operators whose mean and median disagree.
    """

    model: Name
    version: Name
    release: Release
    variant: Name
    engine: str
    engine_version: str
    threads: int
    runs: int
    mean_ms: float
    p50_ms: float
    p99_ms: float
    operators: tuple[OperatorTime, ...]
    note: str | None = None


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
}
