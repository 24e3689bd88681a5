"""The state of a roll-out: what was asked for, each wave and each device; enough to resume it from a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from drupelet_host.rollout.selection import Selection
from drupelet_shared.contract.delivery import DesiredPackage
from drupelet_shared.contract.rollouts import RolloutPhase, WavePhase
from drupelet_shared.names import Name

DevicePhase = Literal[
    "pending", "delivering", "soaking", "healthy", "failed", "offline", "rolled_back", "kept", "rollback_pending"
]
OfflinePolicy = Literal["later", "skip"]
IdlePolicy = Literal["hold", "pass"]


class RolloutSpec(BaseModel):
    """What a roll-out was asked to do.

    Attributes:
        model: The model.
        target: The package that devices get.
        selection: The devices.
        waves: The sizes of the waves, as they were written.
        gate: The gate, as it was written.
        healthy_for_s: The time for which a device must be active and healthy.
        timeout_s: The time that a device has to become active.
        baseline_s: The longest time to collect telemetry before the first wave, if the gate compares with it.
        parallel: The largest number of devices that fetch and install at the same time.
        offline: Whether devices that are offline get the version when they return, or not at all.
        idle: Whether a wave passes if a condition cannot be judged because there were no requests.
    """

    model_config = ConfigDict(frozen=True)

    model: Name
    target: DesiredPackage
    selection: Selection = Selection()
    waves: str = "1,10%,50%,100%"
    gate: str = ""
    healthy_for_s: Annotated[float, Field(ge=0)] = 60.0
    timeout_s: Annotated[float, Field(gt=0)] = 900.0
    baseline_s: Annotated[float, Field(ge=0)] = 60.0
    parallel: Annotated[int, Field(ge=1)] = 500
    offline: OfflinePolicy = "later"
    idle: IdlePolicy = "hold"


@dataclass(slots=True)
class DeviceEntry:
    """One device that a wave changes.

    Attributes:
        wave: The number of the wave.
        phase: How far the device is.
        previous: The desired state before; None if there was none.
        from_version: The version that was active before; None if the device did not have the model.
        release: The release of the new version on the device, once it was active.
        baseline_ms: The median of each percentile over the windows before.
        code: The code of its failure.
        error: Its failure, in words.
    """

    wave: int
    phase: DevicePhase = "pending"
    previous: DesiredPackage | None = None
    from_version: str | None = None
    release: int | None = None
    baseline_ms: dict[str, float] = field(default_factory=dict)
    code: str | None = None
    error: str | None = None


@dataclass(slots=True)
class WaveEntry:
    """One wave.

    Attributes:
        number: Its number, from 1.
        until: The number of devices that have the version at its end, earlier waves included.
        phase: How far it is.
        started: When it started.
        ended: When it ended.
        results: The results of the gate's conditions, in words.
    """

    number: int
    until: int
    phase: WavePhase = "waiting"
    started: datetime | None = None
    ended: datetime | None = None
    results: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RolloutState:
    """A roll-out.

    Attributes:
        id: Its identifier.
        spec: What it was asked to do.
        by: The user and the host that started it.
        started: When it started.
        order: The devices that take part, in the order in which they are changed.
        waves: Its waves.
        up_to_date: Devices of the selection that had the version already.
        phase: How far it is.
        reason: Why it was stopped or is held.
        devices: The devices that waves have taken up, by name.
        later: Devices that were offline to the end and get the version when they return.
        skipped: Devices that were offline to the end and do not get it.
    """

    id: str
    spec: RolloutSpec
    by: str
    started: datetime
    order: list[str]
    waves: list[WaveEntry]
    up_to_date: int = 0
    phase: RolloutPhase = "baseline"
    reason: str | None = None
    devices: dict[str, DeviceEntry] = field(default_factory=dict)
    later: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def current_wave(self) -> WaveEntry | None:
        """The first wave that has not passed; None if all have."""
        return next((wave for wave in self.waves if wave.phase != "passed"), None)

    @property
    def is_ended(self) -> bool:
        """Whether nothing further happens without a person."""
        return self.phase in {"held", "stopped", "completed"}

    def of_wave(self, number: int) -> dict[str, DeviceEntry]:
        """Return the devices of a wave, by name."""
        return {name: entry for name, entry in self.devices.items() if entry.wave == number}

    def reopen(self) -> None:
        """Prepare a roll-out that was interrupted, held or stopped to go on with its current wave from the beginning.

        Devices of the wave are written and observed again; those of earlier waves stay as they are. A roll-out that was
        interrupted while it rolled a wave back goes on with that.
        """
        wave = self.current_wave
        if wave is None:
            return
        if self.phase == "rolling_back":
            return
        if self.phase != "baseline":
            self.phase = "running"
        self.reason = None
        if wave.phase != "waiting":
            wave.phase = "running"
        wave.ended, wave.results = None, []
        for entry in self.of_wave(wave.number).values():
            entry.phase, entry.code, entry.error = "pending", None, None
