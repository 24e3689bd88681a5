"""The plan of a roll-out: the sizes of its waves, which devices take part, and which have the version already."""

from __future__ import annotations

import itertools
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from drupelet_host.rollout.observation import ObservedDevice
from drupelet_host.rollout.selection import select_devices
from drupelet_host.rollout.state import DeviceEntry, RolloutSpec, RolloutState, WaveEntry
from drupelet_shared.contract.delivery import DesiredPackage, RolloutMark
from drupelet_shared.contract.faults import describe_faults
from drupelet_shared.contract.rollouts import RolloutRecord
from drupelet_shared.errors import InvalidValueError

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<percent>%?)")
_WHOLE = 100.0


@dataclass(frozen=True, slots=True)
class WaveSize:
    """The number of devices that have the version at the end of a wave, those of earlier waves included.

    Attributes:
        number: A count of devices, or a percentage of them.
        is_percentage: Which of the two.
    """

    number: float
    is_percentage: bool

    def count(self, devices: int) -> int:
        """Return the number of devices out of all that take part; a percentage is rounded up."""
        # Rounded first: 7 % of 100 devices are 7, although 0.07 * 100 is a little more in binary.
        share = round(devices * self.number / _WHOLE, 9) if self.is_percentage else self.number
        return min(devices, math.ceil(share))

    def __str__(self) -> str:
        return f"{self.number:g}{'%' if self.is_percentage else ''}"


def parse_waves(text: str) -> tuple[WaveSize, ...]:
    """Read the sizes of waves, such as "1,10%,50%,100%".

    Raises:
        InvalidValueError: A size is malformed or zero, above 100 %, or not above the one before.
    """
    sizes = tuple(_parse_size(part.strip(), text) for part in text.split(","))
    for before, after in itertools.pairwise(sizes):
        if before.is_percentage == after.is_percentage and after.number <= before.number:
            raise InvalidValueError(
                f"waves {text!r}: {after} follows {before}: each size includes the waves before it, and must be larger"
            )
    return sizes


def cumulative_counts(sizes: Sequence[WaveSize], devices: int) -> tuple[int, ...]:
    """Return how many devices have the version at the end of each wave; waves that would add none are left out."""
    counts: list[int] = []
    for size in sizes:
        count = size.count(devices)
        if count > (counts[-1] if counts else 0):
            counts.append(count)
    return tuple(counts)


def make_rollout(spec: RolloutSpec, observed: Mapping[str, ObservedDevice], *, by: str, now: datetime) -> RolloutState:
    """Plan a roll-out over the devices that have announced themselves.

    Args:
        spec: What it is asked to do.
        observed: Every device.
        by: The user and the host that start it.
        now: The time.

    Returns:
        The roll-out, which has done nothing yet.

    Raises:
        InvalidValueError: No device is selected, or the waves are malformed.
    """
    target = spec.target
    selected = _select(spec, observed)
    if not selected:
        raise InvalidValueError(
            f"roll-out of {spec.model}: none of the {len(observed)} devices is selected by {describe_selection(spec)}"
        )
    order = [name for name in selected if not observed[name].runs(target)]
    counts = cumulative_counts(parse_waves(spec.waves), len(order))
    return RolloutState(
        id=make_id(now),
        spec=spec,
        by=by,
        started=now,
        order=order,
        waves=[WaveEntry(number, until) for number, until in enumerate(counts, start=1)],
        up_to_date=len(selected) - len(order),
    )


def recover_rollout(
    record: RolloutRecord, observed: Mapping[str, ObservedDevice], *, source: str | None
) -> RolloutState:
    """Restore a roll-out from what the broker has retained: its record, and the desired states that it wrote.

    Args:
        record: The record.
        observed: Every device.
        source: The source of the package; None takes that of a desired state.

    Returns:
        The roll-out; the devices of a wave that has not passed are written and observed again.

    Raises:
        InvalidValueError: The source is neither given nor in a desired state, or the record is malformed.
    """
    marked = {
        name: device.desired
        for name, device in observed.items()
        if device.desired is not None and device.desired.rollout is not None and device.desired.rollout.id == record.id
    }
    source = source or next((desired.source for desired in marked.values()), None)
    if source is None:
        raise InvalidValueError(
            f"roll-out {record.id}: no device has its desired state: name the package with --source"
        )
    try:
        target = DesiredPackage(version=record.version, digest=record.digest, source=source)
        spec = RolloutSpec.model_validate({**record.request, "model": record.model, "target": target})
        parse_waves(spec.waves)
    except ValidationError as error:
        raise InvalidValueError(f"roll-out {record.id}: its record is malformed: {describe_faults(error)}") from error
    waves = [
        WaveEntry(wave.number, wave.until, wave.phase, wave.started, wave.ended, list(wave.results))
        for wave in record.waves
    ]
    passed = {wave.number for wave in waves if wave.phase == "passed"}
    state = RolloutState(
        id=record.id,
        spec=spec,
        by=record.by,
        started=record.started,
        order=[name for name in _select(spec, observed) if name in marked or not observed[name].runs(target)],
        waves=waves,
        up_to_date=record.up_to_date,
        phase=record.phase,
        reason=record.reason,
    )
    for name, desired in marked.items():
        if desired.rollout is not None:
            state.devices[name] = _recover_entry(
                desired.rollout, observed[name], is_passed=desired.rollout.wave in passed
            )
    return state


def make_id(now: datetime) -> str:
    """Return a new identifier, which sorts by time and is a valid topic level."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def describe_selection(spec: RolloutSpec) -> str:
    """Describe the conditions on devices: "site=berlin, name cam-*, 10 %"."""
    selection = spec.selection
    parts = [*selection.labels, *(f"name {pattern}" for pattern in selection.names)]
    if selection.share < 1:
        parts.append(f"{selection.share * 100:g} %")
    return ", ".join(parts) or "all devices"


def _select(spec: RolloutSpec, observed: Mapping[str, ObservedDevice]) -> tuple[str, ...]:
    labels = {name: device.status.labels for name, device in observed.items() if device.status is not None}
    return select_devices(labels, spec.selection, seed=f"{spec.model}:{spec.target.version or spec.target.digest}")


def _recover_entry(mark: RolloutMark, device: ObservedDevice, *, is_passed: bool) -> DeviceEntry:
    return DeviceEntry(
        wave=mark.wave,
        phase="healthy" if is_passed else "pending",
        previous=mark.previous,
        # Not known any more: a device without an earlier release refuses to roll back.
        from_version=(mark.previous.version if mark.previous else None) or "unknown",
        release=device.state.release if device.state else None,
    )


def _parse_size(part: str, text: str) -> WaveSize:
    match = _SIZE.fullmatch(part)
    if match is None:
        raise InvalidValueError(f"waves {text!r}: {part!r}: expected a number of devices or a percentage, such as 10%")
    size = WaveSize(float(match["number"]), is_percentage=bool(match["percent"]))
    if not size.is_percentage and size.number != int(size.number):
        raise InvalidValueError(f"waves {text!r}: {part!r}: a number of devices is whole")
    if size.number == 0 or (size.is_percentage and size.number > _WHOLE):
        raise InvalidValueError(f"waves {text!r}: {part!r}: expected more than 0 and at most 100%")
    return size
