"""The topics of the MQTT contract, version 1. No other module builds or parses a topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from drupelet_shared.errors import InvalidValueError
from drupelet_shared.names import check_name, is_name, is_sha256

DEFAULT_PREFIX = "drupelet/v1"
# Topic levels at the position of a device name that mean something else.
_RESERVED = {"pool", "clients", "rollouts"}


def is_device_name(name: str) -> bool:
    """Return whether a topic level can be the name of a device; anybody may publish under others."""
    return is_name(name) and name not in _RESERVED


@dataclass(frozen=True, slots=True)
class InferenceTopic:
    """The model and version that an `infer/<model>[/<version>]` topic addresses."""

    model: str
    version: str | None


class DeviceTopics:
    """The topics of one device under `<prefix>/<device>`."""

    def __init__(self, device: str, *, prefix: str = DEFAULT_PREFIX) -> None:
        """Build the topics of a device.

        Args:
            device: The device's name, one topic level.
            prefix: The levels before it.

        Raises:
            InvalidValueError: The name has another form, or is reserved for pools, clients or roll-outs.
        """
        self.device = check_name(device, what="device")
        if device in _RESERVED:
            raise InvalidValueError(f"device name {device!r}: is reserved in the topics")
        self.prefix = prefix.strip("/")
        self.base = f"{self.prefix}/{device}"

    @property
    def infer_filters(self) -> tuple[str, str]:
        """The subscriptions that receive every inference request."""
        return f"{self.base}/infer/+", f"{self.base}/infer/+/+"

    @property
    def status(self) -> str:
        """Retained: the birth message, or the last will."""
        return f"{self.base}/status"

    @property
    def device_telemetry(self) -> str:
        """CPU, memory and temperature of the device."""
        return f"{self.base}/telemetry/device"

    @property
    def telemetry_history(self) -> str:
        """Retained: the latest hour of device and models, at the default interval."""
        return f"{self.base}/telemetry/history"

    @property
    def event(self) -> str:
        """Events: a limit was exceeded, or a value is back within it."""
        return f"{self.base}/event"

    @property
    def echo(self) -> str:
        """The topic on which `drupelet-agent doctor` measures the round trip to the broker."""
        return f"{self.base}/echo"

    @property
    def command_filter(self) -> str:
        """The subscription that receives every command."""
        return f"{self.base}/command/+"

    def command(self, name: str) -> str:
        """Return the topic of a command."""
        return f"{self.base}/command/{check_name(name, what='command')}"

    def command_result(self, name: str) -> str:
        """Return the topic of a command's answers when the command has no Response Topic."""
        return f"{self.base}/command/{name}/result"

    @property
    def upload_filter(self) -> str:
        """The subscription that receives the chunks of every upload."""
        return f"{self.base}/upload/+"

    def upload(self, digest: str) -> str:
        """Return the topic for the chunks of the file with this SHA-256."""
        return f"{self.base}/upload/{digest}"

    def upload_state(self, digest: str) -> str:
        """Return the topic of the answers to chunks that have no Response Topic."""
        return f"{self.base}/upload/{digest}/state"

    def infer(self, model: str, version: str | None = None) -> str:
        """Return the topic of inference requests for a model."""
        return _infer_topic(self.base, model, version)

    def result(self, model: str) -> str:
        """Return the topic of replies to requests that have no Response Topic."""
        return f"{self.base}/result/{model}"

    def model_state(self, model: str) -> str:
        """Return the retained topic of a model's state on this device."""
        return f"{self.base}/models/{model}/state"

    @property
    def desired_filter(self) -> str:
        """The subscription that receives the desired state of every model."""
        return f"{self.base}/models/+/desired"

    def desired(self, model: str) -> str:
        """Return the retained topic of a model's desired state."""
        return f"{self.base}/models/{check_name(model, what='model')}/desired"

    def delivery(self, model: str) -> str:
        """Return the retained topic of a model's delivery state: the progress towards its desired state."""
        return f"{self.base}/models/{model}/delivery"

    def model_telemetry(self, model: str) -> str:
        """Return the topic of a model's latency and request counts."""
        return f"{self.base}/telemetry/models/{model}"

    def parse_infer(self, topic: str) -> InferenceTopic | None:
        """Return the model and version that a request topic addresses; None for any other topic."""
        return _parse_infer(topic, self.base)

    def parse_desired(self, topic: str) -> str | None:
        """Return the model whose desired state this topic carries; None for any other topic."""
        head, tail = f"{self.base}/models/", "/desired"
        model = topic.removeprefix(head).removesuffix(tail)
        return model if topic == f"{head}{model}{tail}" and is_name(model) else None

    def parse_upload(self, topic: str) -> str | None:
        """Return the digest of the file that an upload topic addresses; None for any other topic."""
        head = f"{self.base}/upload/"
        digest = topic.removeprefix(head)
        return digest if topic.startswith(head) and is_sha256(digest) else None

    def parse_command(self, topic: str) -> str | None:
        """Return the name of the command that a topic addresses; None for any other topic."""
        head = f"{self.base}/command/"
        name = topic.removeprefix(head)
        return name if topic.startswith(head) and name and "/" not in name else None


class PoolTopics:
    """The topics of a pool: a group of devices that share its requests."""

    def __init__(self, pool: str, *, prefix: str = DEFAULT_PREFIX) -> None:
        """Build the topics of a pool.

        Args:
            pool: The pool's name, one topic level.
            prefix: The levels before it.

        Raises:
            InvalidValueError: The name has another form.
        """
        self.pool = check_name(pool, what="pool")
        self.base = f"{prefix.strip('/')}/pool/{pool}"

    @property
    def shared_filters(self) -> tuple[str, str]:
        """The shared subscriptions by which each request reaches one member (MQTT 5, section 4.8.2)."""
        return f"$share/{self.pool}/{self.base}/infer/+", f"$share/{self.pool}/{self.base}/infer/+/+"

    def infer(self, model: str, version: str | None = None) -> str:
        """Return the topic of inference requests for a model."""
        return _infer_topic(self.base, model, version)


class MemberTopics(DeviceTopics):
    """The topics of a device as a member of pools: `parse_infer` accepts requests to its pools."""

    def __init__(self, device: str, *, prefix: str = DEFAULT_PREFIX, pools: Sequence[str]) -> None:
        """Build the topics of a pool member.

        Args:
            device: The device's name.
            prefix: The levels before it.
            pools: The names of its pools.

        Raises:
            InvalidValueError: A name has another form, or the device's name is reserved.
        """
        super().__init__(device, prefix=prefix)
        self._members = [PoolTopics(pool, prefix=prefix) for pool in pools]

    @property
    def shared_filters(self) -> tuple[str, ...]:
        """The subscriptions that receive this device's share of the requests."""
        return tuple(one for pool in self._members for one in pool.shared_filters)

    def parse_infer(self, topic: str) -> InferenceTopic | None:
        """Return the model and version that a request to one of the pools addresses; None for any other topic."""
        parsed = (_parse_infer(topic, pool.base) for pool in self._members)
        return next((address for address in parsed if address is not None), None)


def _infer_topic(base: str, model: str, version: str | None) -> str:
    check_name(model, what="model")
    if version is None:
        return f"{base}/infer/{model}"
    return f"{base}/infer/{model}/{check_name(version, what='version')}"


def _parse_infer(topic: str, base: str) -> InferenceTopic | None:
    head = f"{base}/infer/"
    if not topic.startswith(head):
        return None
    levels = topic[len(head) :].split("/")
    match levels:
        case [model]:
            return InferenceTopic(model=model, version=None)
        case [model, version]:
            return InferenceTopic(model=model, version=version)
    return None


class RolloutTopics:
    """The topics of the records of roll-outs under `<prefix>/rollouts`."""

    def __init__(self, *, prefix: str = DEFAULT_PREFIX) -> None:
        """Build the topics of a prefix.

        Args:
            prefix: The levels before the names of devices.
        """
        self._base = f"{prefix.strip('/')}/rollouts"

    @property
    def filter(self) -> str:
        """The subscription that receives every record."""
        return f"{self._base}/+"

    def record(self, rollout: str) -> str:
        """Return the retained topic of a roll-out's record."""
        return f"{self._base}/{check_name(rollout, what='roll-out')}"


AnnouncementKind = Literal["status", "state", "model_telemetry", "device_telemetry", "event", "history"]

_ANNOUNCEMENTS: tuple[tuple[AnnouncementKind, str], ...] = (
    ("status", "{device}/status"),
    ("state", "{device}/models/{model}/state"),
    ("model_telemetry", "{device}/telemetry/models/{model}"),
    ("device_telemetry", "{device}/telemetry/device"),
    ("event", "{device}/event"),
    ("history", "{device}/telemetry/history"),
)


@dataclass(frozen=True, slots=True)
class Announcement:
    """The parts of a topic on which a device reports about itself.

    Attributes:
        kind: The kind of message.
        device: The device that published it.
        model: The model it is about; None where it is about the device.
    """

    kind: AnnouncementKind
    device: str
    model: str | None = None


class FleetTopics:
    """The topics on which all devices under one prefix report about themselves, without requests and replies."""

    def __init__(self, *, prefix: str = DEFAULT_PREFIX) -> None:
        """Build the filters and patterns of a prefix.

        Args:
            prefix: The levels before the names of devices.
        """
        self._prefix = prefix.strip("/")
        self._head = f"{self._prefix}/"

    @property
    def filters(self) -> tuple[str, ...]:
        """The subscriptions that receive all these messages."""
        return tuple(f"{self._prefix}/{form.format(device='+', model='+')}" for _, form in _ANNOUNCEMENTS)

    def parse(self, topic: str) -> Announcement | None:
        """Return the parts of a topic; None for a topic of another kind."""
        if not topic.startswith(self._head):
            return None
        # Thousands of messages a second pass here: levels are compared, not patterns one after the other.
        device, *levels = topic[len(self._head) :].split("/")
        match levels:
            case ["status" | "event" as kind]:
                found = Announcement(kind, device)
            case ["telemetry", "device"]:
                found = Announcement("device_telemetry", device)
            case ["telemetry", "history"]:
                found = Announcement("history", device)
            case ["telemetry", "models", model]:
                found = Announcement("model_telemetry", device, model)
            case ["models", model, "state"]:
                found = Announcement("state", device, model)
            case _:
                return None
        is_valid = is_device_name(device) and (found.model is None or is_name(found.model))
        return found if is_valid else None
