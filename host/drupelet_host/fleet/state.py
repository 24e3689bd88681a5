"""What is known of every device, from its messages and nothing else."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pydantic import BaseModel, ValidationError

from drupelet_shared.contract.messages import DeviceStatus, DeviceTelemetry, Event, ModelState, ModelTelemetry
from drupelet_shared.contract.topics import Announcement, AnnouncementKind, FleetTopics
from drupelet_shared.contract.wire import OK_CODE

# Home Assistant's sensors expire by the same rule.
_WINDOWS_UNTIL_STALE = 4
# Agents' default interval; theirs may be shorter, and a reader that was away gets several windows at once.
_LEAST_INTERVAL_S = 10.0
WINDOWS_KEPT = 120
_EVENTS_KEPT = 50
_MESSAGES: Mapping[AnnouncementKind, type[BaseModel]] = {
    "status": DeviceStatus,
    "state": ModelState,
    "model_telemetry": ModelTelemetry,
    "device_telemetry": DeviceTelemetry,
    "event": Event,
}


@dataclass(frozen=True, slots=True)
class Window:
    """The main numbers of one telemetry window of a model; small, as many are kept.

    Attributes:
        at_s: When it came, by the reader's clock.
        requests_per_s: Requests that ended in it, by the second.
        error_rate: The share of them that was not answered with a result, 0 to 1; 0 without requests.
        p50_ms: From arrival to reply, as `p90_ms` and `p99_ms`; None without requests.
    """

    at_s: float
    length_s: float
    requests_per_s: float
    error_rate: float
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None

    @classmethod
    def of(cls, telemetry: ModelTelemetry, *, at_s: float) -> Window:
        """The numbers of a message that came at `at_s`."""
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

    def is_current(self, now_s: float) -> bool:
        """Whether the next windows are not long overdue."""
        return now_s - self.at_s <= _WINDOWS_UNTIL_STALE * max(self.length_s, _LEAST_INTERVAL_S)


@dataclass(slots=True)
class Model:
    """One model on one device: its state, its latest telemetry, and the windows before, the oldest first."""

    name: str
    state: ModelState | None = None
    telemetry: ModelTelemetry | None = None
    windows: deque[Window] = field(default_factory=lambda: deque(maxlen=WINDOWS_KEPT))


@dataclass(slots=True)
class Device:
    """One device; `status` is None while it has told of its models only."""

    name: str
    status: DeviceStatus | None = None
    telemetry: DeviceTelemetry | None = None
    telemetry_at_s: float = 0.0
    interval_s: float = _LEAST_INTERVAL_S
    models: dict[str, Model] = field(default_factory=dict)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_EVENTS_KEPT))
    alerts: dict[tuple[str, str | None], Event] = field(default_factory=dict)

    @property
    def is_online(self) -> bool:
        """Whether the broker holds its connection."""
        return self.status is not None and self.status.state == "online"

    def current_telemetry(self, now_s: float) -> DeviceTelemetry | None:
        """Its latest numbers, unless it is offline or the next ones are long overdue."""
        limit_s = _WINDOWS_UNTIL_STALE * self.interval_s
        return self.telemetry if self.is_online and now_s - self.telemetry_at_s <= limit_s else None

    def current_window(self, model: str, now_s: float) -> Window | None:
        """A model's latest window, by the same rule."""
        windows = self.models[model].windows
        return windows[-1] if self.is_online and windows and windows[-1].is_current(now_s) else None


class Fleet:
    """Takes messages in the order they come; the caller's clock says when.

    Attributes:
        malformed: Messages that were not what their topic promises, and changed nothing.
    """

    def __init__(self, topics: FleetTopics) -> None:
        self._topics = topics
        self._devices: dict[str, Device] = {}
        self.malformed = 0

    @property
    def devices(self) -> Mapping[str, Device]:
        """All devices by name."""
        return MappingProxyType(self._devices)

    def receive(self, topic: str, payload: bytes, *, at_s: float) -> Announcement | None:
        """Take one message.

        Args:
            topic: Where it was published; other topics than a device's announcements have no effect.
            payload: As published; an empty one takes a retained message back.
            at_s: Now, by a clock that is not set.

        Returns:
            What it changed; None if nothing.
        """
        found = self._topics.parse(topic)
        if found is None:
            return None
        if not payload:
            self._forget(found)
            return found
        try:
            return found if self._apply(found, payload, at_s) else None
        except ValidationError:
            self.malformed += 1
            return None

    def _apply(self, found: Announcement, payload: bytes, at_s: float) -> bool:
        # Read first: a message that is malformed must not bring a device into being.
        message = _MESSAGES[found.kind].model_validate_json(payload)
        match message:
            case DeviceStatus():
                return _take_status(self._device(found), message)
            case ModelState():
                self._take_state(found, message)
            case ModelTelemetry():
                model = self._model(found)
                model.telemetry = message
                model.windows.append(Window.of(message, at_s=at_s))
            case DeviceTelemetry():
                _take_telemetry(self._device(found), message, at_s)
            case Event():
                _take_event(self._device(found), message)
        return True

    def _device(self, found: Announcement) -> Device:
        return self._devices.setdefault(found.device, Device(found.device))

    def _model(self, found: Announcement) -> Model:
        assert found.model is not None, "the topic names a model"
        return self._device(found).models.setdefault(found.model, Model(found.model))

    def _take_state(self, found: Announcement, state: ModelState) -> None:
        if state.health == "removed":
            self._forget(found)
        else:
            self._model(found).state = state

    def _forget(self, found: Announcement) -> None:
        if found.kind == "status":
            self._devices.pop(found.device, None)
        elif found.kind == "state" and found.device in self._devices and found.model is not None:
            self._devices[found.device].models.pop(found.model, None)


def _take_status(device: Device, status: DeviceStatus) -> bool:
    # A will that comes after the next birth is about a connection that nobody misses (contract, section 7).
    if status.state == "offline" and device.status is not None and device.status.session != status.session:
        return False
    device.status = status
    return True


def _take_telemetry(device: Device, telemetry: DeviceTelemetry, at_s: float) -> None:
    if device.telemetry is not None and telemetry.uptime_s > device.telemetry.uptime_s:
        device.interval_s = max(_LEAST_INTERVAL_S, telemetry.uptime_s - device.telemetry.uptime_s)
    device.telemetry, device.telemetry_at_s = telemetry, at_s


def _take_event(device: Device, event: Event) -> None:
    device.events.append(event)
    key = (event.kind, event.model)
    if event.state == "raised":
        device.alerts[key] = event
    else:
        device.alerts.pop(key, None)
