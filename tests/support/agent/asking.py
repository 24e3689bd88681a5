"""A bare MQTT 5 requester, for what the product's own client would never send."""

from __future__ import annotations

import itertools
import json
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from support.broker.brokers import Broker
from support.broker.subscriber import subscriber

_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Reply:
    """One reply as it came."""

    topic: str
    payload: bytes
    correlation: bytes | None
    content_type: str | None
    user_properties: dict[str, str]

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON value
        """The payload as JSON."""
        return json.loads(self.payload)


@dataclass
class Asker:
    """Sends requests with a Response Topic of its own and hands out the replies in order."""

    client: paho.Client
    reply_topic: str
    replies: queue.Queue[Reply]
    subscribed: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def send(
        self,
        topic: str,
        payload: bytes,
        *,
        content_type: str | None = "application/json",
        user_properties: Sequence[tuple[str, str]] = (),
        expiry_s: int | None = None,
        response_topic: str | None = None,
        qos: int = 1,
    ) -> bytes:
        """Publish one request and return its Correlation Data."""
        correlation = b"correlation \x00\xff %d" % next(self._numbers)
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = response_topic or self.reply_topic
        properties.CorrelationData = correlation
        if content_type is not None:
            properties.ContentType = content_type
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        if user_properties:
            properties.UserProperty = list(user_properties)
        self.client.publish(topic, payload, qos=qos, properties=properties)
        return correlation

    def next_reply(self, *, timeout_s: float = _PATIENCE_S) -> Reply:
        """Return the next reply to any request."""
        return self.replies.get(timeout=timeout_s)

    def ask(self, topic: str, payload: bytes, **options: Any) -> Reply:  # noqa: ANN401 - `send` checks them
        """Publish one request and wait for its reply."""
        correlation = self.send(topic, payload, **options)
        reply = self.next_reply()
        assert reply.correlation == correlation
        return reply

    def collect(self, count: int, *, linger_s: float = 0.3, timeout_s: float = _PATIENCE_S) -> list[Reply]:
        """As many replies, and those that come on top of them within the time that is lingered."""
        found = [self.next_reply(timeout_s=timeout_s) for _ in range(count)]
        with suppress(queue.Empty):
            while True:
                found.append(self.next_reply(timeout_s=linger_s))
        return found


@contextmanager
def asker(broker: Broker, *, name: str = "asker", session_expiry_s: int = 0) -> Iterator[Asker]:
    """Yield a connected requester; `subscribed` is set after each connect, once replies can arrive."""
    subscribed = threading.Event()
    replies: queue.Queue[Reply] = queue.Queue()
    reply_topic = f"tests/{name}/replies"

    def receive(message: paho.MQTTMessage) -> None:
        replies.put(_read(message))

    with subscriber(
        broker,
        reply_topic,
        receive,
        client_id=f"test-{name}",
        session_expiry_s=session_expiry_s,
        on_subscribed=subscribed.set,
    ) as client:
        yield Asker(client=client, reply_topic=reply_topic, replies=replies, subscribed=subscribed)


def _read(message: paho.MQTTMessage) -> Reply:
    return Reply(
        topic=message.topic,
        payload=bytes(message.payload),
        correlation=getattr(message.properties, "CorrelationData", None),
        content_type=getattr(message.properties, "ContentType", None),
        user_properties=dict(getattr(message.properties, "UserProperty", None) or ()),
    )
