"""The state of all devices on a broker, computed from their messages alone."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pydantic import BaseModel, ValidationError

from drupelet_shared.contract.messages import (
    DeviceStatus,
    DeviceTelemetry,
    Event,
    ModelHistory,
    ModelState,
    ModelTelemetry,
    TelemetryHistory,
)
from drupelet_shared.contract.topics import Announcement, AnnouncementKind, FleetTopics
from drupelet_shared.contract.wire import OK_CODE

# Home Assistant's sensors expire by the same rule.
_WINDOWS_UNTIL_STALE = 4
# The agents' default telemetry interval. A shorter one does not make windows stale earlier, because a reader that
# reconnects receives several windows at once.
_MIN_INTERVAL_S = 10.0
MAX_WINDOWS = 120
# What a trend shows, however large the fleet is.
MIN_WINDOWS = 20
# Over the whole fleet; a window takes some 200 bytes.
_MAX_FLEET_WINDOWS = 200_000
_MAX_EVENTS = 50
_MESSAGES: Mapping[AnnouncementKind, type[BaseModel]] = {
    "status": DeviceStatus,
    "state": ModelState,
    "model_telemetry": ModelTelemetry,
    "device_telemetry": DeviceTelemetry,
    "event": Event,
    "history": TelemetryHistory,
}


@dataclass(frozen=True, slots=True)
class TelemetryWindow:
    """The main numbers of one telemetry window of a model.

    Attributes:
        at_s: The time of arrival, by the reader's clock.
        length_s: The length of the window.
        requests_per_s: Requests that ended in the window, per second.
        error_rate: The share of them that was not answered with a result, 0 to 1; 0 without requests.
        p50_ms: The median latency from arrival to reply; None without requests, as are the other percentiles.
        p90_ms: The 90th percentile of the same.
        p99_ms: The 99th percentile of the same.
    """

    at_s: float
    length_s: float
    requests_per_s: float
    error_rate: float
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None

    @classmethod
    def of(cls, telemetry: ModelTelemetry, *, at_s: float) -> TelemetryWindow:
        """Return the numbers of a telemetry message that arrived at `at_s`."""
        ended, total = sum(telemetry.outcomes.values()), telemetry.total
        return cls(
            at_s=at_s,
            length_s=telemetry.window_s,
            requests_per_s=ended / max(telemetry.window_s, 1e-3),
            error_rate=1 - telemetry.outcomes.get(OK_CODE, 0) / ended if ended else 0.0,
            p50_ms=total.p50_ms if total else None,
            p90_ms=total.p90_ms if total else None,
            p99_ms=total.p99_ms if total else None,
        )

    @property
    def stale_after_s(self) -> float:
        """Until when the window is recent enough to be shown as the current state, if no other follows."""
        return self.at_s + _WINDOWS_UNTIL_STALE * max(self.length_s, _MIN_INTERVAL_S)


@dataclass(slots=True)
class DeviceModel:
    """One model on one device.

    Attributes:
        name: The model's name.
        state: Its retained state.
        telemetry: Its latest telemetry.
        windows: Its latest telemetry windows, the oldest first.
    """

    name: str
    state: ModelState | None = None
    telemetry: ModelTelemetry | None = None
    windows: deque[TelemetryWindow] = field(default_factory=lambda: deque(maxlen=MAX_WINDOWS))


@dataclass(slots=True)
class Device:
    """One device.

    Attributes:
        name: The device's name.
        status: Its birth message or will; None until one arrives.
        telemetry: Its latest telemetry.
        telemetry_at_s: The time of arrival of `telemetry`, by the reader's clock.
        interval_s: The time between its latest two telemetry messages.
        models: Its models by name.
        events: Its latest events, the oldest first.
        alerts: Its raised alerts by kind and model.
        history: Its latest points, from before this reader connected too.
        changes: How many messages have changed it.
    """

    name: str
    status: DeviceStatus | None = None
    telemetry: DeviceTelemetry | None = None
    telemetry_at_s: float = 0.0
    interval_s: float = _MIN_INTERVAL_S
    models: dict[str, DeviceModel] = field(default_factory=dict)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_MAX_EVENTS))
    alerts: dict[tuple[str, str | None], Event] = field(default_factory=dict)
    history: TelemetryHistory | None = None
    changes: int = 0

    @property
    def is_online(self) -> bool:
        """Whether the device has announced that it is online."""
        return self.status is not None and self.status.state == "online"

    def current_telemetry(self, now_s: float) -> DeviceTelemetry | None:
        """Return the latest telemetry; None if the device is offline or the next telemetry is long overdue."""
        return self.telemetry if self.is_online and now_s <= self._telemetry_stale_after_s else None

    def next_stale_s(self, now_s: float) -> float:
        """Return when the first of what is current now becomes stale without a message; infinite if nothing does."""
        if not self.is_online:
            return math.inf
        ends_s = [self._telemetry_stale_after_s]
        ends_s += [model.windows[-1].stale_after_s for model in self.models.values() if model.windows]
        return min((end_s for end_s in ends_s if end_s >= now_s), default=math.inf)

    @property
    def _telemetry_stale_after_s(self) -> float:
        return self.telemetry_at_s + _WINDOWS_UNTIL_STALE * self.interval_s

    def model_history(self, model: str) -> ModelHistory | None:
        """Return a model's part of the history; None without one."""
        models = self.history.models if self.history is not None else ()
        return next((each for each in models if each.model == model), None)

    def current_window(self, model: str, now_s: float) -> TelemetryWindow | None:
        """Return a model's latest window; None if the device is offline or the next window is long overdue."""
        windows = self.models[model].windows
        return windows[-1] if self.is_online and windows and now_s <= windows[-1].stale_after_s else None


class Fleet:
    """All devices on a broker, updated by each message in the order of arrival.

    Attributes:
        malformed: The number of messages that did not match their topic's schema; they change nothing.
    """

    def __init__(self, topics: FleetTopics) -> None:
        """Make a fleet without devices.

        Args:
            topics: Parses the topics of the messages.
        """
        self._topics = topics
        self._devices: dict[str, Device] = {}
        self._histories: dict[str, TelemetryHistory] = {}
        self.malformed = 0

    @property
    def devices(self) -> Mapping[str, Device]:
        """All devices by name."""
        return MappingProxyType(self._devices)

    def receive(self, topic: str, payload: bytes, *, at_s: float) -> Announcement | None:
        """Apply one message.

        Args:
            topic: The message's topic; topics that are no announcements have no effect.
            payload: The payload; an empty one deletes a retained message.
            at_s: The time of arrival, by a monotonic clock.

        Returns:
            The announcement if it changed the fleet; None otherwise.
        """
        announcement = self._topics.parse(topic)
        if announcement is None:
            return None
        try:
            if not payload:
                self._remove(announcement)
            elif not self._apply(announcement, payload, at_s):
                return None
        except ValidationError:
            self.malformed += 1
            return None
        device = self._devices.get(announcement.device)
        if device is not None:
            device.changes += 1
        return announcement

    def _apply(self, announcement: Announcement, payload: bytes, at_s: float) -> bool:
        # Parsed first, so that a malformed message does not add a device.
        message = _MESSAGES[announcement.kind].model_validate_json(payload)
        match message:
            case DeviceStatus():
                return _apply_status(self._device(announcement), message)
            case ModelState():
                self._apply_state(announcement, message)
            case ModelTelemetry():
                model = self._model(announcement)
                model.telemetry = message
                model.windows.append(TelemetryWindow.of(message, at_s=at_s))
                self._trim(model.windows)
            case DeviceTelemetry():
                _apply_telemetry(self._device(announcement), message, at_s)
            case Event():
                _apply_event(self._device(announcement), message)
            case TelemetryHistory():
                self._apply_history(announcement, message)
        return True

    def _trim(self, windows: deque[TelemetryWindow]) -> None:
        """Drop the oldest windows of a model in a large fleet, so that memory does not grow for 20 minutes."""
        kept = max(MIN_WINDOWS, _MAX_FLEET_WINDOWS // max(1, len(self._devices)))
        while len(windows) > kept:
            windows.popleft()

    def _device(self, announcement: Announcement) -> Device:
        device = self._devices.get(announcement.device)
        if device is None:
            device = self._devices[announcement.device] = Device(
                announcement.device, history=self._histories.get(announcement.device)
            )
        return device

    def _model(self, announcement: Announcement) -> DeviceModel:
        assert announcement.model is not None, "the topic names a model"
        models = self._device(announcement).models
        model = models.get(announcement.model)
        if model is None:
            model = models[announcement.model] = DeviceModel(announcement.model)
        return model

    def _apply_history(self, announcement: Announcement, history: TelemetryHistory) -> None:
        # It outlives a device whose status was deleted, and therefore announces none.
        self._histories[announcement.device] = history
        device = self._devices.get(announcement.device)
        if device is not None:
            device.history = history

    def _apply_state(self, announcement: Announcement, state: ModelState) -> None:
        if state.health == "removed":
            self._remove(announcement)
        else:
            self._model(announcement).state = state

    def _remove(self, announcement: Announcement) -> None:
        if announcement.kind == "status":
            self._devices.pop(announcement.device, None)
            self._histories.pop(announcement.device, None)
        elif announcement.kind == "state" and announcement.model is not None:
            device = self._devices.get(announcement.device)
            if device is not None:
                device.models.pop(announcement.model, None)


def _apply_status(device: Device, status: DeviceStatus) -> bool:
    # A will that arrives after the next birth message is about a connection that was replaced (contract, section 7).
    if status.state == "offline" and device.status is not None and device.status.session != status.session:
        return False
    device.status = status
    return True


def _apply_telemetry(device: Device, telemetry: DeviceTelemetry, at_s: float) -> None:
    if device.telemetry is not None and telemetry.uptime_s > device.telemetry.uptime_s:
        device.interval_s = max(_MIN_INTERVAL_S, telemetry.uptime_s - device.telemetry.uptime_s)
    device.telemetry, device.telemetry_at_s = telemetry, at_s


def _apply_event(device: Device, event: Event) -> None:
    device.events.append(event)
    key = (event.kind, event.model)
    if event.state == "raised":
        device.alerts[key] = event
    else:
        device.alerts.pop(key, None)
