"""What a roll-out sees of each device: its status, the model's state, delivery and windows, from their messages."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pydantic import BaseModel, ValidationError

from drupelet_host.rollout.gate import DEVICE_ERRORS
from drupelet_shared.contract.delivery import DeliveryState, DesiredPackage, DesiredState
from drupelet_shared.contract.messages import DeviceStatus, ModelState, ModelTelemetry
from drupelet_shared.contract.topics import is_device_name

PERCENTILES = ("p50", "p90", "p99")
_MAX_WINDOWS = 30


@dataclass(frozen=True, slots=True)
class ObservedWindow:
    """The numbers of one telemetry window.

    Attributes:
        at_s: The time of arrival, by the reader's clock.
        version: The version that answered.
        length_s: The length of the window.
        requests: Requests that ended in it.
        errors: Those that the device failed to answer.
        latencies_ms: p50, p90 and p99 from arrival to reply; empty without requests.
    """

    at_s: float
    version: str
    length_s: float
    requests: int
    errors: int
    latencies_ms: Mapping[str, float]

    @classmethod
    def of(cls, telemetry: ModelTelemetry, *, at_s: float) -> ObservedWindow:
        """Return the numbers of a message that arrived at `at_s`."""
        total = telemetry.total
        return cls(
            at_s=at_s,
            version=telemetry.version,
            length_s=telemetry.window_s,
            requests=sum(telemetry.outcomes.values()),
            errors=sum(count for code, count in telemetry.outcomes.items() if code in DEVICE_ERRORS),
            latencies_ms={} if total is None else {"p50": total.p50_ms, "p90": total.p90_ms, "p99": total.p99_ms},
        )


@dataclass(slots=True)
class ObservedDevice:
    """What one device has announced about itself and the model.

    Attributes:
        status: Its birth message or will.
        state: The model's state; None while the device does not have it.
        delivery: How far the device is with the desired state.
        delivery_at_s: When `delivery` arrived, by the reader's clock.
        desired: The desired state on the broker.
        windows: The model's latest windows, the oldest first.
    """

    status: DeviceStatus | None = None
    state: ModelState | None = None
    delivery: DeliveryState | None = None
    delivery_at_s: float = 0.0
    desired: DesiredState | None = None
    windows: deque[ObservedWindow] = field(default_factory=lambda: deque(maxlen=_MAX_WINDOWS))

    @property
    def is_online(self) -> bool:
        """Whether the device has announced that it is online."""
        return self.status is not None and self.status.state == "online"

    def runs(self, target: DesiredPackage) -> bool:
        """Tell whether the active release is the target."""
        state = self.state
        return state is not None and target.version in {None, state.version} and target.digest in {None, state.digest}

    def latencies_ms(self, *, version: str | None, is_version: bool, since_s: float = 0.0) -> dict[str, float]:
        """Return the median over windows of each percentile; empty without requests.

        Args:
            version: A version.
            is_version: Whether the windows of this version count, or those of all others.
            since_s: The earliest time of arrival.
        """
        windows = [
            window.latencies_ms
            for window in self.windows
            if window.at_s >= since_s and window.latencies_ms and (window.version == version) == is_version
        ]
        return {name: statistics.median(window[name] for window in windows) for name in PERCENTILES if windows}


class Observations:
    """Every device on a broker with regard to one model, updated by each message in the order of arrival."""

    def __init__(self, *, prefix: str, model: str) -> None:
        """Make observations of nothing.

        Args:
            prefix: The first levels of the topics.
            model: The model's name.
        """
        self._prefix = f"{prefix.strip('/')}/"
        self._devices: dict[str, ObservedDevice] = {}
        self._kinds: dict[str, type[BaseModel]] = {
            "status": DeviceStatus,
            f"models/{model}/state": ModelState,
            f"models/{model}/delivery": DeliveryState,
            f"models/{model}/desired": DesiredState,
            f"telemetry/models/{model}": ModelTelemetry,
        }

    @property
    def filters(self) -> tuple[str, ...]:
        """The subscriptions that receive these messages."""
        return tuple(f"{self._prefix}+/{tail}" for tail in self._kinds)

    @property
    def retained_filters(self) -> tuple[str, ...]:
        """Those of them whose latest message the broker has stored."""
        return tuple(f"{self._prefix}+/{tail}" for tail, kind in self._kinds.items() if kind is not ModelTelemetry)

    @property
    def devices(self) -> Mapping[str, ObservedDevice]:
        """All devices that have announced a status, by name."""
        return MappingProxyType({name: device for name, device in self._devices.items() if device.status is not None})

    def receive(self, topic: str, payload: bytes, *, at_s: float, is_retained: bool = False) -> None:
        """Apply one message; one of another topic, of no possible device, or a malformed one changes nothing.

        Args:
            topic: The topic.
            payload: The payload; an empty one deletes a retained message.
            at_s: The time of arrival, by a monotonic clock.
            is_retained: Whether the broker had stored it.
        """
        name, _, tail = topic.removeprefix(self._prefix).partition("/")
        kind = self._kinds.get(tail)
        if kind is None or not topic.startswith(self._prefix) or not is_device_name(name):
            return
        if not payload:
            if name in self._devices:
                _remove(self._devices[name], kind)
            return
        try:
            message = kind.model_validate_json(payload)
        except ValidationError:
            return
        _apply(self._devices.setdefault(name, ObservedDevice()), message, at_s, is_retained=is_retained)


def _apply(device: ObservedDevice, message: BaseModel, at_s: float, *, is_retained: bool) -> None:
    match message:
        case DeviceStatus():
            # A will that arrives after the next birth message is about a connection that was replaced.
            if message.state == "online" or device.status is None or device.status.session == message.session:
                device.status = message
        case ModelState():
            device.state = None if message.health == "removed" else message
        case DeliveryState():
            # What the broker has stored and sends again is as old as when it first arrived.
            if not is_retained or message != device.delivery:
                device.delivery_at_s = at_s
            device.delivery = message
        case DesiredState():
            device.desired = message
        case ModelTelemetry():
            device.windows.append(ObservedWindow.of(message, at_s=at_s))


def _remove(device: ObservedDevice, kind: type[BaseModel]) -> None:
    if kind is DeviceStatus:
        device.status = None
    elif kind is ModelState:
        device.state = None
    elif kind is DeliveryState:
        device.delivery = None
    elif kind is DesiredState:
        device.desired = None
