"""The topics of the MQTT contract, version 1: built and parsed here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from drupelet_shared.errors import InvalidValueError
from drupelet_shared.names import NAME_PATTERN, check_name, is_name, is_sha256

DEFAULT_PREFIX = "drupelet/v1"
# Levels that stand where devices' names do.
_RESERVED = {"pool", "clients"}


@dataclass(frozen=True, slots=True)
class InferenceTopic:
    """What `infer/<model>[/<version>]` addresses."""

    model: str
    version: str | None


class DeviceTopics:
    """The topics of one device under `<prefix>/<device>`."""

    def __init__(self, device: str, *, prefix: str = DEFAULT_PREFIX) -> None:
        self.device = check_name(device, what="device")
        if device in _RESERVED:
            raise InvalidValueError(f"device name {device!r}: stands for something else in the topics")
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
    def event(self) -> str:
        """Limits that were crossed."""
        return f"{self.base}/event"

    @property
    def echo(self) -> str:
        """Where `drupelet-agent doctor` sends itself a few messages."""
        return f"{self.base}/echo"

    @property
    def command_filter(self) -> str:
        """The subscription that receives every command."""
        return f"{self.base}/command/+"

    def command(self, name: str) -> str:
        """Where a command is sent."""
        return f"{self.base}/command/{check_name(name, what='command')}"

    def command_result(self, name: str) -> str:
        """Where the answers to a command go when it names no Response Topic."""
        return f"{self.base}/command/{name}/result"

    @property
    def upload_filter(self) -> str:
        """The subscription that receives every upload's chunks."""
        return f"{self.base}/upload/+"

    def upload(self, digest: str) -> str:
        """Where the chunks of the file of that SHA-256 are sent."""
        return f"{self.base}/upload/{digest}"

    def upload_state(self, digest: str) -> str:
        """Where the answers to chunks go when they name no Response Topic."""
        return f"{self.base}/upload/{digest}/state"

    def infer(self, model: str, version: str | None = None) -> str:
        """Where requests for a model are sent."""
        return _infer_topic(self.base, model, version)

    def result(self, model: str) -> str:
        """Where replies go when the request names no Response Topic."""
        return f"{self.base}/result/{model}"

    def model_state(self, model: str) -> str:
        """Retained: what the device runs for this model."""
        return f"{self.base}/models/{model}/state"

    @property
    def desired_filter(self) -> str:
        """The subscription that receives what every model should be."""
        return f"{self.base}/models/+/desired"

    def desired(self, model: str) -> str:
        """Retained: which package of this model the device is to run."""
        return f"{self.base}/models/{check_name(model, what='model')}/desired"

    def delivery(self, model: str) -> str:
        """Retained: how far the device is with what is desired of this model."""
        return f"{self.base}/models/{model}/delivery"

    def model_telemetry(self, model: str) -> str:
        """Latency and counts of one model."""
        return f"{self.base}/telemetry/models/{model}"

    def parse_infer(self, topic: str) -> InferenceTopic | None:
        """The model and version a request topic addresses; None if it is not one of this device."""
        return _parse_infer(topic, self.base)

    def parse_desired(self, topic: str) -> str | None:
        """The model a desired state is about; None if it is no such topic of this device."""
        head, tail = f"{self.base}/models/", "/desired"
        model = topic.removeprefix(head).removesuffix(tail)
        return model if topic == f"{head}{model}{tail}" and is_name(model) else None

    def parse_upload(self, topic: str) -> str | None:
        """The digest of the file an upload topic addresses; None if it is no such topic of this device."""
        head = f"{self.base}/upload/"
        digest = topic.removeprefix(head)
        return digest if topic.startswith(head) and is_sha256(digest) else None

    def parse_command(self, topic: str) -> str | None:
        """The name of the command a topic addresses; None if it is no command to this device."""
        head = f"{self.base}/command/"
        name = topic.removeprefix(head)
        return name if topic.startswith(head) and name and "/" not in name else None


class PoolTopics:
    """The topics of a pool of devices, which share the requests that are sent there."""

    def __init__(self, pool: str, *, prefix: str = DEFAULT_PREFIX) -> None:
        self.pool = check_name(pool, what="pool")
        self.base = f"{prefix.strip('/')}/pool/{pool}"

    @property
    def shared_filters(self) -> tuple[str, str]:
        """The shared subscriptions by which each request reaches one member (MQTT 5, section 4.8.2)."""
        return f"$share/{self.pool}/{self.base}/infer/+", f"$share/{self.pool}/{self.base}/infer/+/+"

    def infer(self, model: str, version: str | None = None) -> str:
        """Where requests for a model are sent."""
        return _infer_topic(self.base, model, version)


class MemberTopics(DeviceTopics):
    """The topics of a device as a member of pools: the requests it takes are those to its pools."""

    def __init__(self, device: str, *, prefix: str = DEFAULT_PREFIX, pools: Sequence[str]) -> None:
        super().__init__(device, prefix=prefix)
        self._members = [PoolTopics(pool, prefix=prefix) for pool in pools]

    @property
    def shared_filters(self) -> tuple[str, ...]:
        """The subscriptions that receive this device's share of the requests."""
        return tuple(one for pool in self._members for one in pool.shared_filters)

    def parse_infer(self, topic: str) -> InferenceTopic | None:
        """The model and version a request to one of the pools addresses; None if it is none."""
        found = (_parse_infer(topic, pool.base) for pool in self._members)
        return next((one for one in found if one is not None), None)


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


AnnouncementKind = Literal["status", "state", "model_telemetry", "device_telemetry", "event"]

_LEVEL = NAME_PATTERN.strip("^$")
_ANNOUNCEMENTS: tuple[tuple[AnnouncementKind, str], ...] = (
    ("status", "{device}/status"),
    ("state", "{device}/models/{model}/state"),
    ("model_telemetry", "{device}/telemetry/models/{model}"),
    ("device_telemetry", "{device}/telemetry/device"),
    ("event", "{device}/event"),
)


@dataclass(frozen=True, slots=True)
class Announcement:
    """Who says what: the parts of a topic on which a device tells of itself; `model` only where it is about one."""

    kind: AnnouncementKind
    device: str
    model: str | None = None


class FleetTopics:
    """What all devices under one prefix tell of themselves, without the requests and replies that pass there."""

    def __init__(self, *, prefix: str = DEFAULT_PREFIX) -> None:
        self._prefix = prefix.strip("/")
        head = re.escape(self._prefix)
        parts = {"device": f"(?P<device>{_LEVEL})", "model": f"(?P<model>{_LEVEL})"}
        self._patterns = [(kind, re.compile(f"{head}/{form.format(**parts)}")) for kind, form in _ANNOUNCEMENTS]

    @property
    def filters(self) -> tuple[str, ...]:
        """The subscriptions that receive all of it."""
        return tuple(f"{self._prefix}/{form.format(device='+', model='+')}" for _, form in _ANNOUNCEMENTS)

    def parse(self, topic: str) -> Announcement | None:
        """Who says what on a topic; None if it is none of these."""
        for kind, pattern in self._patterns:
            if found := pattern.fullmatch(topic):
                return Announcement(kind, **found.groupdict())
        return None
