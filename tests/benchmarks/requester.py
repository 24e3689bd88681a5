"""A paho client that its caller drives: no thread of its own takes part in what is timed."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.child import BenchmarkError
from drupelet_shared.contract.wire import CODE_PROPERTY, HEADER_LENGTH_PROPERTY
from drupelet_shared.inference import Encoded

_PATIENCE_S = 20.0
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply as it came."""

    payload: bytes
    content_type: str | None
    user: tuple[tuple[str, str], ...]
    received_s: float

    @property
    def code(self) -> str | None:
        """What the agent says became of the request; None where it was no agent."""
        return dict(self.user).get(CODE_PROPERTY)

    @property
    def header_length(self) -> int | None:
        """The length of the JSON before raw tensors."""
        value = dict(self.user).get(HEADER_LENGTH_PROPERTY)
        return None if value is None else int(value)


class Requester:
    """Sends requests with QoS 1 and keeps every reply by its Correlation Data, repeated ones too."""

    def __init__(self, host: str, port: int, *, name: str) -> None:
        self.replies: dict[bytes, list[Reply]] = {}
        self._host, self._port = host, port
        self._reply_topic = f"bench/{name}/replies"
        self._sent = 0
        self._subscriptions = 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"bench-{name}", protocol=paho.MQTTv5)
        self._client.on_socket_open = set_no_delay
        self._client.on_subscribe = self._on_subscribe
        self._client.message_callback_add(self._reply_topic, self._on_reply)

    def __enter__(self) -> Self:
        self._client.connect(self._host, self._port)
        self.run_until(self._client.is_connected, what="connect")
        self._subscribe(self._reply_topic)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.disconnect()

    def listen(self, topic: str, heard: Callable[[bytes], None]) -> None:
        """Also receive another topic's payloads, whenever the client is driven."""
        self._client.message_callback_add(topic, lambda _client, _userdata, message: heard(bytes(message.payload)))
        self._subscribe(topic)

    def send(self, topic: str, body: Encoded) -> bytes:
        """Publish one request and return its Correlation Data."""
        self._sent += 1
        correlation = self._sent.to_bytes(8, "big")
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = self._reply_topic
        properties.CorrelationData = correlation
        properties.ContentType = body.content_type
        if body.header_length is not None:
            properties.UserProperty = (HEADER_LENGTH_PROPERTY, str(body.header_length))
        self._client.publish(topic, body.payload, qos=1, properties=properties)
        return correlation

    def wait_for(self, correlation: bytes, *, timeout_s: float = _PATIENCE_S) -> Reply:
        """Return the reply to one request."""
        self.run_until(lambda: correlation in self.replies, what="receive a reply", timeout_s=timeout_s)
        return self.replies.pop(correlation)[0]

    def ask(self, topic: str, body: Encoded) -> tuple[Reply, float]:
        """Return one request and its reply, and the milliseconds between."""
        start_s = time.monotonic()
        reply = self.wait_for(self.send(topic, body))
        return reply, (reply.received_s - start_s) * 1e3

    def run_until(self, done: Callable[[], bool], *, what: str, timeout_s: float = _PATIENCE_S) -> None:
        """Drive the client until something holds.

        Raises:
            BenchmarkError: It did not in time, or the connection is gone.
        """
        deadline_s = time.monotonic() + timeout_s
        while not done():
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                raise BenchmarkError(f"{self._reply_topic}: could not {what} within {timeout_s:g} s")
            status = self._client.loop(min(_POLL_S, remaining_s))
            if status != paho.MQTT_ERR_SUCCESS:
                raise BenchmarkError(f"{self._reply_topic}: could not {what}: {paho.error_string(status)}")

    def _subscribe(self, topic: str) -> None:
        wanted = self._subscriptions + 1
        self._client.subscribe(topic, qos=1)
        self.run_until(lambda: self._subscriptions == wanted, what=f"subscribe to {topic}")

    def _on_subscribe(self, *_: object) -> None:
        self._subscriptions += 1

    def _on_reply(self, _client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        received_s = time.monotonic()
        reply = Reply(
            payload=message.payload,
            content_type=getattr(message.properties, "ContentType", None),
            user=tuple(getattr(message.properties, "UserProperty", ())),
            received_s=received_s,
        )
        self.replies.setdefault(message.properties.CorrelationData, []).append(reply)


def set_no_delay(_client: object, _userdata: object, opened: object) -> None:
    """Send small packets at once; a paho callback for a socket that opens."""
    assert isinstance(opened, socket.socket)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
