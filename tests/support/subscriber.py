"""A bare MQTT client that is subscribed and hands over every message as it comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from support.brokers import Broker

_PATIENCE_S = 20.0


@contextmanager
def subscriber(
    broker: Broker,
    topic: str,
    on_message: Callable[[paho.MQTTMessage], object],
    *,
    client_id: str = "",
    protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
) -> Iterator[paho.Client]:
    """Connect, subscribe with QoS 1, and wait until the broker has said yes; `client` may publish as well."""
    subscribed = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    client.on_connect = lambda *_: client.subscribe(topic, qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _client, _userdata, message: on_message(message)
    client.connect(broker.host, broker.port if protocol == MQTTProtocolVersion.MQTTv5 else broker.port_311)
    client.loop_start()
    try:
        assert subscribed.wait(_PATIENCE_S)
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
