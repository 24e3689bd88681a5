"""A bare MQTT client that is subscribed and hands over every message as it comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from support.broker.brokers import Broker

_PATIENCE_S = 20.0
_RECONNECT_S = 0.2


@contextmanager
def subscriber(
    broker: Broker,
    topic: str,
    on_message: Callable[[paho.MQTTMessage], object],
    *,
    client_id: str = "",
    protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
    session_expiry_s: int = 0,
    on_subscribed: Callable[[], object] = lambda: None,
) -> Iterator[paho.Client]:
    """Connect, subscribe with QoS 1, and wait until the broker has said yes; `client` may publish as well.

    Args:
        broker: Where to.
        topic: The topic filter.
        on_message: Called on another thread.
        client_id: The broker makes one up by default.
        protocol: MQTT 5 or 3.1.1.
        session_expiry_s: How long the broker keeps messages while the connection is gone.
        on_subscribed: Called after each connect, once the subscription stands.
    """
    subscribed = threading.Event()

    def confirm() -> None:
        subscribed.set()
        on_subscribed()

    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    if broker.username is not None:
        client.username_pw_set(broker.username, "any")
    client.on_connect = lambda *_: client.subscribe(topic, qos=1)
    client.on_subscribe = lambda *_: confirm()
    client.reconnect_delay_set(_RECONNECT_S, _RECONNECT_S)
    client.on_message = lambda _client, _userdata, message: on_message(message)
    properties = None
    if session_expiry_s:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = session_expiry_s
    port = broker.port if protocol == MQTTProtocolVersion.MQTTv5 else broker.port_311
    # mosquitto 2.0.11 forgets at its own restart what began with a clean start.
    clean_start = paho.MQTT_CLEAN_START_FIRST_ONLY if properties is None else False
    client.connect(broker.host, port, clean_start=clean_start, properties=properties)
    client.loop_start()
    try:
        assert subscribed.wait(_PATIENCE_S)
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
