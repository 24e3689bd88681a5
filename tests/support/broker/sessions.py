"""An MQTT session over a real stream, whose far end is read by the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from drupelet_agent.mqtt.codec import packets
from drupelet_agent.mqtt.limits import BrokerLimits
from drupelet_agent.mqtt.link.dialling import OpenSocket
from drupelet_agent.mqtt.link.stream import Stream
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.outcome import PublishOutcome
from drupelet_agent.mqtt.session import Session
from drupelet_agent.mqtt.status import ConnectionProblem
from fakes.scripted_broker import PUBLISH, Packet

_PUBACK_BYTE = packets.PUBACK << 4


def _split(data: bytes) -> list[Packet]:
    """Split what a client sent into packets, each with a length of one or two bytes."""
    received = []
    while data:
        length, start = (data[1], 2) if data[1] < 0x80 else ((data[1] & 0x7F) + (data[2] << 7), 3)
        received.append(Packet(data[0] >> 4, data[0] & 15, data[start : start + length]))
        data = data[start + length :]
    return received


class SessionBench:
    """A session, the far ends of its connections, and everything that it reported."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.reports: list[tuple[ConnectionProblem, str]] = []
        self.outcomes: dict[str, tuple[PublishOutcome, str]] = {}
        self.session = Session(
            max_pending_bytes=1000,
            on_message=self.messages.append,
            report=lambda problem, text: self.reports.append((problem, text)),
        )
        self._streams: list[Stream] = []
        self._far: list[socket.socket] = []

    def open(self, *, session_present: bool = False, **limits: object) -> None:
        """Connect to a broker with these limits."""
        near, far = socket.socketpair()
        for end in (near, far):
            end.settimeout(0)
        self._far.append(far)
        stream = Stream(
            OpenSocket(near),
            max_packet_bytes=10_000,
            max_unsent_bytes=2**20,
            on_packet=lambda *_: None,
            on_end=lambda _: None,
        )
        self._streams.append(stream)
        self.session.open(stream, BrokerLimits(**limits), session_present=session_present)  # type: ignore[arg-type]

    def publish(self, topic: str, payload: bytes = b"x", **fields: object) -> None:
        publication = Publication(topic, payload, **fields)  # type: ignore[arg-type]
        self.session.publish(publication, lambda outcome, reason: self.outcomes.update({topic: (outcome, reason)}))

    def received(self) -> list[Packet]:
        """What the broker has received on this connection since the last call."""
        self._streams[-1].flush()
        try:
            return _split(self._far[-1].recv(2**20))
        except BlockingIOError:
            return []

    def topics(self) -> list[str]:
        return [packet.topic for packet in self.received() if packet.kind == PUBLISH]

    def acknowledge(self, packet_id: int, *, reason: int | None = None) -> None:
        body = packet_id.to_bytes(2, "big") + (b"" if reason is None else bytes((reason,)))
        self.session.handle(_PUBACK_BYTE, memoryview(body))

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        for far in self._far:
            far.close()


Scenario = Callable[[SessionBench], Awaitable[None]]


def run_session(scenario: Scenario) -> None:
    async def main() -> None:
        bench = SessionBench()
        try:
            await scenario(bench)
        finally:
            bench.close()

    asyncio.run(main())
