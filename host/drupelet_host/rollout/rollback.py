"""Rolls the devices of a wave back: the release before runs again, and the desired state before is restored."""

from __future__ import annotations

from collections.abc import Mapping

from drupelet_host.rollout.devices import COMMAND_S
from drupelet_host.rollout.observation import ObservedDevice
from drupelet_host.rollout.orders import Desire, Order, RollBack
from drupelet_host.rollout.state import DeviceEntry, RolloutState
from drupelet_shared.contract.delivery import DesiredState

# A device that was installing when its desired state changed may still finish within this time.
SETTLE_S = 3.0
_FINAL = frozenset({"rolled_back", "kept", "rollback_pending"})


class RollbackStep:
    """Leads the devices of one wave back; `step` is called until `is_done`."""

    def __init__(self, state: RolloutState, *, settle_s: float = SETTLE_S) -> None:
        """Make the step.

        Args:
            state: The roll-out.
            settle_s: The time that a device has to finish an installation after its desired state changed.
        """
        self._state = state
        self._settle_s = settle_s
        self._start_s: float | None = None
        self._restored_s: dict[str, float] = {}
        self._commanded_s: dict[str, float] = {}

    def is_done(self, entries: Mapping[str, DeviceEntry]) -> bool:
        """Tell whether nothing is left to do for any device."""
        return all(entry.phase in _FINAL for entry in entries.values())

    def step(
        self, entries: Mapping[str, DeviceEntry], observed: Mapping[str, ObservedDevice], *, now_s: float
    ) -> list[Order]:
        """Bring the entries up to date and return what to send.

        Args:
            entries: The devices of the wave.
            observed: Every device.
            now_s: The current time.

        Returns:
            What to send.
        """
        if self._start_s is None:
            self._start_s = now_s
        orders: list[Order] = []
        for name, entry in entries.items():
            if entry.phase not in _FINAL:
                orders += self._step_device(name, entry, observed.get(name), now_s)
        return orders

    def _step_device(self, name: str, entry: DeviceEntry, device: ObservedDevice | None, now_s: float) -> list[Order]:
        assert self._start_s is not None, "set by `step`"
        is_active = device is not None and device.runs(self._state.spec.target)
        if not is_active or entry.from_version is None:
            # Without a release before there is nothing to go back to: the device keeps what it has.
            return self._restore(name, entry, final="kept" if is_active else "rolled_back", now_s=now_s)
        assert device is not None, "an active release has a state"
        assert device.state is not None, "an active release has a state"
        if now_s - self._start_s > self._state.spec.timeout_s:
            entry.phase = "rollback_pending"
            entry.error = "does not go back" if device.is_online else "is offline and still has the version"
            return [Desire(name, _previous(entry))]
        if not device.is_online or now_s - self._commanded_s.get(name, -COMMAND_S) < COMMAND_S:
            return []
        self._commanded_s[name] = now_s
        return [RollBack(name, device.state.release)]

    def _restore(self, name: str, entry: DeviceEntry, *, final: str, now_s: float) -> list[Order]:
        if name not in self._restored_s:
            self._restored_s[name] = now_s
            return [Desire(name, _previous(entry))]
        if now_s - self._restored_s[name] >= self._settle_s:
            entry.phase = "kept" if final == "kept" else "rolled_back"
        return []


def _previous(entry: DeviceEntry) -> DesiredState | None:
    return None if entry.previous is None else DesiredState(**entry.previous.model_dump())
