"""Decides the next steps of a roll-out from what its devices announce: values in, orders out, no input or output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from drupelet_host.rollout.devices import (
    DeviceTimer,
    desired_by,
    find_takeover,
    has_regressed,
    judge_device,
    list_failures,
    measure_wave,
    needs_activation,
)
from drupelet_host.rollout.gate import find_early_failure, judge_wave, parse_gate
from drupelet_host.rollout.observation import ObservedDevice
from drupelet_host.rollout.orders import Activate, Desire, Order
from drupelet_host.rollout.rollback import SETTLE_S, RollbackStep
from drupelet_host.rollout.state import DeviceEntry, RolloutState, WaveEntry
from drupelet_shared.contract.delivery import DesiredPackage, DesiredState, RolloutMark

_FAILURES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one step.

    Attributes:
        orders: What to send, after the state has been saved.
        has_changed: Whether waves or the roll-out have changed, so that the state must be saved first.
    """

    orders: list[Order] = field(default_factory=list)
    has_changed: bool = False


class RolloutController:
    """Leads one roll-out; `step` is called again and again until the state says that it has ended."""

    def __init__(self, state: RolloutState, *, start_s: float, settle_s: float = SETTLE_S) -> None:
        """Make a controller.

        Args:
            state: The roll-out, which the controller keeps up to date.
            start_s: The current time, by the clock of the observations.
            settle_s: The time that a device has to finish an installation when it is rolled back.
        """
        self.state = state
        self._gate = parse_gate(state.spec.gate)
        self._start_s = start_s
        self._timers: dict[str, DeviceTimer] = {}
        self._rollback = RollbackStep(state, settle_s=settle_s)

    def step(self, observed: Mapping[str, ObservedDevice], *, now_s: float, now: datetime) -> Step:
        """Bring the roll-out up to date and return what to send.

        Args:
            observed: Every device.
            now_s: The current time, by the clock of the observations.
            now: The time for the record.

        Returns:
            What to send, and whether the state must be saved first.
        """
        state = self.state
        if state.phase == "baseline":
            if not self._has_baseline(observed, now_s):
                return Step()
            state.phase = "running"
        if state.phase == "rolling_back":
            return self._roll_back(observed, now_s, now)
        if state.phase != "running":
            return Step()
        wave = state.current_wave
        if wave is None:
            return self._complete(observed)
        if wave.phase == "waiting":
            self._start_wave(wave, observed, now)
            return Step(has_changed=True)
        return self._run_wave(wave, observed, now_s, now)

    def _has_baseline(self, observed: Mapping[str, ObservedDevice], now_s: float) -> bool:
        spec, waves = self.state.spec, self.state.waves
        if not self._gate.needs_baseline or now_s - self._start_s >= spec.baseline_s or not waves:
            return True
        online = [name for name in self.state.order if name in observed and observed[name].is_online]
        return all(
            observed[name].latencies_ms(version=spec.target.version, is_version=False)
            for name in online[: waves[0].until]
        )

    def _start_wave(self, wave: WaveEntry, observed: Mapping[str, ObservedDevice], now: datetime) -> None:
        state = self.state
        wave.phase, wave.started = "running", now
        missing = wave.until - len(state.devices)
        for name in state.order:
            if missing <= 0:
                break
            device = observed.get(name)
            if name not in state.devices and device is not None and device.is_online:
                state.devices[name] = self._make_entry(wave.number, device)
                missing -= 1

    def _make_entry(self, wave: int, device: ObservedDevice) -> DeviceEntry:
        return DeviceEntry(
            wave=wave,
            previous=previous_of(device.desired, self.state.id),
            from_version=device.state.version if device.state else None,
            baseline_ms=device.latencies_ms(version=self.state.spec.target.version, is_version=False),
        )

    def _run_wave(self, wave: WaveEntry, observed: Mapping[str, ObservedDevice], now_s: float, now: datetime) -> Step:
        takeover = self._find_takeover(observed)
        if takeover is not None:
            wave.phase = self.state.phase = "held"
            self.state.reason = f"wave {wave.number}: {takeover}"
            return Step(has_changed=True)
        entries = self.state.of_wave(wave.number)
        orders = self._deliver(entries, observed, now_s)
        entries |= self._find_regressions(wave.number, observed)
        measured = measure_wave(entries, observed, self._timers, version=self.state.spec.target.version)
        early = find_early_failure(self._gate, measured)
        if early is not None:
            return self._fail_wave(wave, [str(early)], now)
        if any(entry.phase in {"pending", "delivering", "soaking"} for entry in entries.values()):
            return Step(orders)
        results = judge_wave(self._gate, measured)
        texts = [str(one) for one in results]
        if any(one.result == "failed" for one in results):
            return self._fail_wave(wave, texts, now)
        wave.results, wave.ended = texts, now
        is_idle = any(one.result == "undecided" for one in results) and measured.devices > 0
        if is_idle and self.state.spec.idle == "hold":
            wave.phase = self.state.phase = "held"
            undecided = "; ".join(str(one) for one in results if one.result == "undecided")
            self.state.reason = f"wave {wave.number}: {undecided}"
        else:
            wave.phase = "passed"
        return Step(orders, has_changed=True)

    def _deliver(
        self, entries: Mapping[str, DeviceEntry], observed: Mapping[str, ObservedDevice], now_s: float
    ) -> list[Order]:
        """Judge the devices that were written, and write as many others as may be delivered to at the same time."""
        state, orders = self.state, list[Order]()
        for name, entry in entries.items():
            timer = self._timers.get(name)
            if entry.phase not in {"delivering", "soaking"} or timer is None:
                continue
            device = observed.get(name)
            if device is not None and needs_activation(entry, device, timer, state.spec.target.version):
                assert entry.release is not None, "the release was active before it was rolled back"
                timer.command_s = now_s
                orders.append(Activate(name, entry.release))
            judge_device(entry, device, timer, spec=state.spec, now_s=now_s)
        free = state.spec.parallel - sum(entry.phase == "delivering" for entry in entries.values())
        for name, entry in entries.items():
            if free <= 0:
                break
            if entry.phase == "pending":
                entry.phase = "delivering"
                self._timers[name] = DeviceTimer(now_s, replaced=desired_by(observed.get(name)))
                orders.append(Desire(name, self._desired(entry)))
                free -= 1
        return orders

    def _find_takeover(self, observed: Mapping[str, ObservedDevice]) -> str | None:
        """Return which device another roll-out has taken over: neither rolling it back nor going on would end that."""
        for name, timer in self._timers.items():
            other = find_takeover(observed.get(name), timer, rollout=self.state.id)
            if other is not None:
                return (
                    f"roll-out {other} has replaced the desired state of {name}: end that one first, or resume this "
                    "one to replace it again"
                )
        return None

    def _desired(self, entry: DeviceEntry) -> DesiredState:
        target = self.state.spec.target
        return DesiredState(
            version=target.version,
            digest=target.digest,
            source=target.source,
            rollout=RolloutMark(id=self.state.id, wave=entry.wave, previous=entry.previous),
        )

    def _find_regressions(self, wave: int, observed: Mapping[str, ObservedDevice]) -> dict[str, DeviceEntry]:
        """Return the devices that were healthy, in this wave or an earlier one, and have failed since."""
        regressed = {}
        for name, entry in self.state.devices.items():
            if entry.phase == "healthy":
                fault = has_regressed(observed.get(name), self.state.spec)
                if fault is not None:
                    entry.phase, entry.code, entry.error = "failed", "regressed", f"was healthy and {fault}"
            if entry.phase == "failed" and entry.code == "regressed" and entry.wave < wave:
                regressed[name] = entry
        return regressed

    def _fail_wave(self, wave: WaveEntry, results: list[str], now: datetime) -> Step:
        wave.phase = self.state.phase = "rolling_back"
        wave.results, wave.ended = results, now
        failures = list_failures(self.state.of_wave(wave.number).items(), limit=_FAILURES_SHOWN)
        self.state.reason = "; ".join([f"wave {wave.number}: {', '.join(results)}", *failures])
        for name, entry in self.state.of_wave(wave.number).items():
            if entry.phase == "pending":
                # Never written: the next attempt may choose it again.
                del self.state.devices[name]
        return Step(has_changed=True)

    def _roll_back(self, observed: Mapping[str, ObservedDevice], now_s: float, now: datetime) -> Step:
        wave = self.state.current_wave
        assert wave is not None, "a wave that is rolled back has not passed"
        orders = self._rollback.step(self.state.of_wave(wave.number), observed, now_s=now_s)
        if not self._rollback.is_done(self.state.of_wave(wave.number)):
            return Step(orders)
        wave.phase, wave.ended, self.state.phase = "rolled_back", now, "stopped"
        return Step(orders, has_changed=True)

    def _complete(self, observed: Mapping[str, ObservedDevice]) -> Step:
        state = self.state
        state.phase, state.reason = "completed", None
        # The last wave may end before 100 %.
        rest = [name for name in state.order if name not in state.devices] if _is_whole(state) else []
        if state.spec.offline == "skip":
            state.skipped = rest
            unreached = [name for name, entry in state.devices.items() if entry.phase == "offline"]
            return Step([Desire(name, _as_desired(state.devices[name].previous)) for name in unreached], True)  # noqa: FBT003
        state.later = rest
        orders: list[Order] = []
        last = len(state.waves) or 1
        for name in rest:
            previous = previous_of(observed[name].desired if name in observed else None, state.id)
            orders.append(Desire(name, self._desired(DeviceEntry(wave=last, previous=previous))))
        return Step(orders, has_changed=True)


def previous_of(desired: DesiredState | None, rollout: str) -> DesiredPackage | None:
    """Return what was desired before a roll-out; None if nothing was."""
    if desired is None:
        return None
    if desired.rollout is not None and desired.rollout.id == rollout:
        return desired.rollout.previous
    return desired.package


def _as_desired(package: DesiredPackage | None) -> DesiredState | None:
    return None if package is None else DesiredState(**package.model_dump())


def _is_whole(state: RolloutState) -> bool:
    return not state.waves or state.waves[-1].until == len(state.order)
