"""Devices that follow desired states and commands over the broker in memory, as the contract says."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field

from drupelet_host.client.connection.transport import MessageProperties, ReceivedMessage
from drupelet_shared.contract.delivery import DeliveryState, DesiredState
from drupelet_shared.contract.messages import DeviceStatus, ModelState, ModelTelemetry, Percentiles
from drupelet_shared.contract.topics import DeviceTopics
from fakes.mqtt import FakeBroker

MODEL = "digits"


@dataclass
class RolloutDevice:
    """One device with one model.

    Attributes:
        broker: The broker.
        name: Its name.
        labels: Its labels.
        version: The active version; None without the model.
        previous: The version before the active one.
        is_online: Whether it is online; one that is offline takes its desired state when it returns.
        refuses: The code with which it refuses every package; None installs them.
        breaks: Whether a release fails once it is active.
        p99_ms: The p99 that it reports, by version.
        outcomes: The outcomes that it reports, by version.
        log: What it was asked, in order.
    """

    broker: FakeBroker
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    version: str | None = "1.0.0"
    previous: str | None = None
    is_online: bool = True
    refuses: str | None = None
    breaks: bool = False
    p99_ms: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.topics = DeviceTopics(self.name)
        self._lock = threading.RLock()
        self._desired: DesiredState | None = None
        self._release = 1
        self._rolled_back: set[str] = set()
        self.announce()
        self.broker.serve(self.topics.desired(MODEL), self._take_desired)
        self.broker.serve(self.topics.command_filter, self._take_command)

    def announce(self) -> None:
        """Publish status and model state."""
        state = "online" if self.is_online else "offline"
        status = DeviceStatus(
            state=state, device=self.name, session="1", agent_version="0.2.0", labels=self.labels or None
        )
        self.broker.publish(self.topics.status, status.to_bytes(), retain=True)
        self._publish_state()

    def come_back(self) -> None:
        self.is_online = True
        self.announce()
        self._follow()

    def leave(self) -> None:
        self.is_online = False
        self.announce()

    def tell(self) -> None:
        """Publish one window, if it is online."""
        if not self.is_online or self.version is None:
            return
        outcomes = self.outcomes.get(self.version, {"ok": 50})
        p99_ms = self.p99_ms.get(self.version, 10.0)
        total = Percentiles(
            count=50, p50_ms=p99_ms / 2, p90_ms=p99_ms / 1.5, p95_ms=p99_ms / 1.2, p99_ms=p99_ms, max_ms=p99_ms * 2
        )
        telemetry = ModelTelemetry(
            model=MODEL,
            version=self.version,
            variant="v",
            window_s=1.0,
            outcomes=outcomes,
            totals=outcomes,
            total=total if outcomes else None,
        )
        self.broker.publish(self.topics.model_telemetry(MODEL), telemetry.to_bytes())

    @property
    def desired(self) -> DesiredState | None:
        return self._desired

    def _take_desired(self, message: ReceivedMessage, _: MessageProperties) -> None:
        with self._lock:
            self._desired = DesiredState.model_validate_json(message.payload) if message.payload else None
            self.log.append(f"desired {self._desired.version}" if self._desired else "cleared")
            if self.is_online:
                self._follow()

    def _follow(self) -> None:
        desired = self._desired
        if desired is None:
            return
        if desired.version == self.version:
            self._deliver("in_sync")
        elif self.refuses is not None:
            self._deliver("failed", code=self.refuses, error="refused", retry_in_s=400.0)
        elif desired.version in self._rolled_back:
            self._deliver("failed", code="rolled_back", error="release 2 was rolled back")
        else:
            self._activate(desired.version)
            self._deliver("in_sync")

    def _take_command(self, message: ReceivedMessage, _: MessageProperties) -> None:
        name = self.topics.parse_command(message.topic)
        request = json.loads(message.payload)
        with self._lock:
            self.log.append(f"{name} {request.get('from_release') or request.get('release')}")
            if not self.is_online:
                return
            if name == "rollback" and request["from_release"] == self._release and self.previous is not None:
                assert self.version is not None
                self._rolled_back.add(self.version)
                self.version, self.previous, self._release = self.previous, self.version, self._release - 1
            elif name == "activate" and request["release"] == self._release + 1 and self.previous is not None:
                self._rolled_back.discard(self.previous)
                self.version, self.previous, self._release = self.previous, self.version, self._release + 1
            self._publish_state()
            self._follow()

    def _activate(self, version: str | None) -> None:
        self.previous, self.version = self.version, version
        self._release += 1
        self._publish_state()

    def _publish_state(self) -> None:
        if self.version is None:
            return
        is_broken = self.breaks and self._release > 1
        state = ModelState(
            model=MODEL,
            version=self.version,
            release=self._release,
            digest="9f" * 32,
            health="failed" if is_broken else "ready",
            error="its workers died 3 times" if is_broken else None,
            code="model_unavailable" if is_broken else None,
        )
        self.broker.publish(self.topics.model_state(MODEL), state.to_bytes(), retain=True)

    def _deliver(self, state: str, **values: object) -> None:
        assert self._desired is not None
        delivery = DeliveryState.model_validate(
            {"model": MODEL, "state": state, "version": self._desired.version, "digest": self._desired.digest, **values}
        )
        self.broker.publish(self.topics.delivery(MODEL), delivery.to_bytes(), retain=True)
