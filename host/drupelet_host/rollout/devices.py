"""How far one device of a wave is, from what it announces; and what the devices of a wave report together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from drupelet_host.rollout.gate import WaveMeasurement
from drupelet_host.rollout.observation import PERCENTILES, ObservedDevice
from drupelet_host.rollout.state import DeviceEntry, RolloutSpec
from drupelet_shared.contract.delivery import DeliveryState

# A window is current for as long as `top` shows it: four windows, and agents send one every 10 s by default.
_WINDOWS_UNTIL_STALE = 4
_MIN_WINDOW_S = 10.0
# The code with which a device refuses a release that was rolled back there.
ROLLED_BACK = "rolled_back"
# A device tries again within this time only after faults that may pass, such as a web server without an answer. Its
# delays exceed it after a handful of attempts, and after a refusal, such as an untrusted signature, at once.
_LONGEST_RETRY_S = 60.0
# The time until the device is expected to have followed a command.
COMMAND_S = 30.0


@dataclass(slots=True)
class DeviceTimer:
    """The times of one device in a wave, by the reader's clock; a resumed roll-out starts them again.

    Attributes:
        written_s: When its desired state was written.
        healthy_s: For how long it has been active and healthy since the agent's latest start.
        last_s: When it was last seen active and healthy without a break; None in a break.
        since_s: When it was first seen active and healthy.
        session: The agent's run that `healthy_s` counts.
        command_s: When it was last sent a command.
        replaced: The roll-out whose desired state it replaced; None if no roll-out had written one.
        is_confirmed: Whether the desired state on the broker has been the roll-out's since it was written.
    """

    written_s: float
    healthy_s: float = 0.0
    last_s: float | None = None
    since_s: float | None = None
    session: str | None = None
    command_s: float | None = None
    replaced: str | None = None
    is_confirmed: bool = False

    def count(self, *, session: str | None, now_s: float) -> None:
        """Count the time since the device was last seen healthy."""
        if session != self.session:
            # An agent that restarts has not been healthy for that long.
            self.session, self.healthy_s, self.last_s, self.since_s = session, 0.0, None, None
        if self.last_s is not None:
            self.healthy_s += now_s - self.last_s
        self.last_s = now_s
        if self.since_s is None:
            self.since_s = now_s

    def pause(self) -> None:
        """Stop counting until the device is seen healthy again; a broken connection takes nothing away."""
        self.last_s = None

    def reset(self) -> None:
        """Count from zero again."""
        self.healthy_s, self.last_s, self.since_s = 0.0, None, None

    def command_is_due(self, now_s: float) -> bool:
        """Tell whether a command may be sent, first or again."""
        return self.command_s is None or now_s - self.command_s >= COMMAND_S


def judge_device(
    entry: DeviceEntry, device: ObservedDevice | None, timer: DeviceTimer, *, spec: RolloutSpec, now_s: float
) -> None:
    """Bring an entry up to date with what its device has announced.

    Args:
        entry: The entry of a device whose desired state has been written.
        device: What is known of the device; None if it is gone from the broker.
        timer: Its times.
        spec: What the roll-out was asked to do.
        now_s: The current time.
    """
    is_active = device is not None and device.runs(spec.target)
    if device is not None and is_active:
        assert device.state is not None, "an active release has a state"
        entry.release = device.state.release
        _judge_active(entry, device, timer, spec=spec, now_s=now_s)
    else:
        timer.reset()
        entry.phase = "delivering"
        failure = _final_failure(device, timer, spec=spec, now_s=now_s)
        if failure is not None and not (failure.code == ROLLED_BACK and entry.release is not None):
            _fail(entry, failure.code or "unknown", failure.error or "the device gives no reason")
        elif failure is not None and timer.command_s is not None and timer.command_is_due(now_s):
            _fail(entry, ROLLED_BACK, failure.error or "the release was rolled back")
    if entry.phase in {"delivering", "soaking"} and now_s > timer.written_s + spec.timeout_s + spec.healthy_for_s:
        _end_late(entry, device, spec=spec)


def needs_activation(
    entry: DeviceEntry, device: ObservedDevice, timer: DeviceTimer, target_version: str | None
) -> bool:
    """Tell whether a device refuses the version because this roll-out rolled it back there before it was resumed.

    Args:
        entry: The device's entry.
        device: What is known of the device.
        timer: Its times.
        target_version: The version that is rolled out.

    Returns:
        True if the command `activate` is due, once.
    """
    delivery = device.delivery
    return (
        entry.release is not None
        and entry.phase == "delivering"
        and timer.command_s is None
        and delivery is not None
        and delivery.code == ROLLED_BACK
        and delivery.version == target_version
        and device.delivery_at_s >= timer.written_s
    )


def find_takeover(device: ObservedDevice | None, timer: DeviceTimer, *, rollout: str) -> str | None:
    """Return the other roll-out that has replaced a device's desired state after it was written; None if none has.

    Args:
        device: What is known of the device.
        timer: Its times.
        rollout: The roll-out that has written its desired state.
    """
    author = desired_by(device)
    if author is None:
        return None
    if author == rollout:
        timer.is_confirmed = True
        return None
    # Until the broker has sent the new state back, it is the one from before.
    return author if timer.is_confirmed or author != timer.replaced else None


def desired_by(device: ObservedDevice | None) -> str | None:
    """Return the roll-out that wrote a device's desired state; None if there is none, or another program wrote it."""
    if device is None or device.desired is None or device.desired.rollout is None:
        return None
    return device.desired.rollout.id


def has_regressed(device: ObservedDevice | None, spec: RolloutSpec) -> str | None:
    """Return what is wrong with a device that was active and healthy before; None if nothing is, or it is offline."""
    if device is None or not device.is_online:
        return None
    if not device.runs(spec.target):
        return f"runs {device.state.version if device.state else 'no version'} again"
    if device.state is not None and device.state.health == "failed":
        return device.state.error or "failed"
    return None


def measure_wave(
    entries: Mapping[str, DeviceEntry],
    observed: Mapping[str, ObservedDevice],
    timers: Mapping[str, DeviceTimer],
    *,
    version: str | None,
) -> WaveMeasurement:
    """Return what the devices of a wave report together.

    Args:
        entries: The devices of the wave.
        observed: Every device.
        timers: The times of the devices.
        version: The version that is rolled out; None takes that of each device's state.
    """
    requests = errors = 0
    latencies: dict[str, list[float]] = {name: [] for name in PERCENTILES}
    ratios: dict[str, list[float]] = {name: [] for name in PERCENTILES}
    for name, entry in entries.items():
        device, timer = observed.get(name), timers.get(name)
        if device is None or timer is None or timer.since_s is None:
            continue
        own_version = version or (device.state.version if device.state else None)
        windows = [one for one in device.windows if one.at_s >= timer.since_s and one.version == own_version]
        requests += sum(one.requests for one in windows)
        errors += sum(one.errors for one in windows)
        after = device.latencies_ms(version=own_version, is_version=True, since_s=timer.since_s)
        for percentile, value in after.items():
            latencies[percentile].append(value)
            before = entry.baseline_ms.get(percentile)
            if before:
                ratios[percentile].append(value / before)
    phases = [entry.phase for entry in entries.values()]
    return WaveMeasurement(
        devices=len(phases) - phases.count("offline"),
        failed=phases.count("failed"),
        requests=requests,
        errors=errors,
        latencies_ms=latencies,
        ratios=ratios,
    )


def list_failures(entries: Iterable[tuple[str, DeviceEntry]], *, limit: int) -> list[str]:
    """Describe the first failures of some devices, in words."""
    failed = [f"{name}: {entry.error} [{entry.code}]" for name, entry in entries if entry.phase == "failed"]
    more = [f"and {len(failed) - limit} more"] if len(failed) > limit else []
    return failed[:limit] + more


def _judge_active(
    entry: DeviceEntry, device: ObservedDevice, timer: DeviceTimer, *, spec: RolloutSpec, now_s: float
) -> None:
    assert device.state is not None, "an active release has a state"
    health = device.state.health
    if health == "failed":
        _fail(entry, device.state.code or "unknown", device.state.error or "the model failed")
        return
    entry.phase = "soaking"
    if health == "starting":
        timer.reset()
    elif not device.is_online:
        timer.pause()
    else:
        # An evicted model is healthy: it starts with the next request.
        timer.count(session=device.status.session if device.status else None, now_s=now_s)
        if timer.healthy_s >= spec.healthy_for_s and _has_current_window(device, timer, now_s):
            entry.phase = "healthy"


def _has_current_window(device: ObservedDevice, timer: DeviceTimer, now_s: float) -> bool:
    if not device.windows or device.state is None or timer.since_s is None:
        return False
    latest = device.windows[-1]
    is_current = now_s - latest.at_s <= _WINDOWS_UNTIL_STALE * max(latest.length_s, _MIN_WINDOW_S)
    return is_current and latest.version == device.state.version and latest.at_s >= timer.since_s


def _final_failure(
    device: ObservedDevice | None, timer: DeviceTimer, *, spec: RolloutSpec, now_s: float
) -> DeliveryState | None:
    """Return a failure of the delivery after which the device does not try again in time."""
    delivery = device.delivery if device is not None else None
    if device is None or delivery is None or device.delivery_at_s < timer.written_s or delivery.state != "failed":
        return None
    # A malformed desired state is answered without a version.
    if delivery.version not in {None, spec.target.version} or delivery.digest not in {None, spec.target.digest}:
        return None
    left_s = min(_LONGEST_RETRY_S, timer.written_s + spec.timeout_s - now_s)
    retries_in_time = delivery.retry_in_s is not None and delivery.retry_in_s <= left_s
    return None if retries_in_time else delivery


def _end_late(entry: DeviceEntry, device: ObservedDevice | None, *, spec: RolloutSpec) -> None:
    limit = f"within {spec.timeout_s:g} s"
    if entry.phase == "soaking":
        is_online = device is not None and device.is_online
        what = "has sent no telemetry of it or was not healthy" if is_online else "went offline"
        _fail(entry, "not_healthy", f"runs the version and {what} for {spec.healthy_for_s:g} s {limit}")
    elif device is None or not device.is_online:
        entry.phase = "offline"
    else:
        state = device.delivery.state.replace("_", " ") if device.delivery else "nothing announced"
        _fail(entry, "not_active", f"does not run the version {limit}: {state}")


def _fail(entry: DeviceEntry, code: str, error: str) -> None:
    entry.phase, entry.code, entry.error = "failed", code, error
