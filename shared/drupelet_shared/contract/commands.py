"""What `command/<name>` takes and answers: one request and one result for each name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from drupelet_shared.contract.delivery import Source
from drupelet_shared.contract.messages import Plan, PlanChange
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
    # A newer peer may say more than this reader knows.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def to_bytes(self) -> bytes:
        """The payload, UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()


class InstallRequest(_Message):
    """`command/install`: take a package from where it is, and make it the active release of its model.

    Attributes:
        source: `upload:<SHA-256 of the file>`, an `https://` URL, or a `file:///` URL: a file that is on the device.
        model: The model it must be of; any by default.
        version: The version it must have; any by default.
        digest: The package digest it must have; any by default.
        activate: False verifies and measures it and leaves it beside the active release, for `activate`.
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
        release: Which; the newest by default.
    """

    model: Name
    release: Release | None = None


class RollBackRequest(_Message):
    """`command/rollback`: run the release before the active one again.

    Attributes:
        model: The model.
        from_release: The active release as the sender knows it; another one is refused, so that a command that is
            delivered twice goes back once.
    """

    model: Name
    from_release: Release | None = None


class RemoveRequest(_Message):
    """`command/remove`: serve a model no longer and free its packages.

    Attributes:
        model: The model.
    """

    model: Name


class ListRequest(_Message):
    """`command/list`: everything that is installed."""


class TuneRequest(_Message):
    """`command/tune`: measure the active release again and give it the plan that follows.

    Attributes:
        model: The model.
    """

    model: Name


class ProfileRequest(_Message):
    """`command/profile`: measure what each operator takes, in a worker beside those that serve.

    Attributes:
        model: The model.
        variant: A variant of its active release; the one that is served by default.
        runs: Inferences that are recorded; fewer of a model with very many operators.
    """

    model: Name
    variant: Name | None = None
    runs: Annotated[int, Field(ge=1, le=1000)] = 30


class CommandProgress(_Message):
    """One step of a command that is under way; any number of them come before the result or the error.

    Attributes:
        command: Its name.
        stage: What has been reached.
        detail: For people.
        done_bytes: With `fetching`: how much is there.
        total_bytes: With `fetching`: how much there will be, if the server tells.
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
        variant: The one that is chosen on this device.
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
    """What a device's store holds of one model.

    Attributes:
        model: The model.
        highest_release: The highest this device has activated; lower ones are refused.
        active: The release that answers.
        previous: The one a roll back brings back.
        staged: One that waits for `activate`.
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
        free_bytes: Where packages are kept.
    """

    models: tuple[InstalledModel, ...]
    free_bytes: int


class Removed(_Message):
    """The answer to `remove`.

    Attributes:
        model: The model.
        release: The one that was active.
        freed_bytes: What its packages took.
    """

    model: Name
    release: Release
    freed_bytes: int


class OperatorTime(_Message):
    """What one operator takes of one inference, on average.

    Attributes:
        name: The operator's name in the graph that the engine runs, after its optimisations.
        type: What it computes, as the engine calls it.
        output: Type and shape of what it gives, where the engine tells.
        calls: How often it runs in one inference.
        mean_ms: All calls together, with the operators inside of it.
        self_ms: The same without those inside.
        parent: The position of the operator whose subgraph it is in; absent at the top.
    """

    name: str
    type: str
    output: str | None = None
    calls: float
    mean_ms: float
    self_ms: float
    parent: int | None = None


class ProfileReport(_Message):
    """The answer to `profile`.

    Attributes:
        model: The model.
        version: For people.
        release: The active one.
        variant: The one that was profiled.
        engine: What ran it.
        engine_version: Its version.
        threads: Threads it had.
        runs: Inferences that were recorded.
        mean_ms: One inference as a whole, recording included, which slows it down.
        p50_ms: Half of them took no longer.
        p99_ms: 99 of 100 took no longer.
        operators: In the order they ran.
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
