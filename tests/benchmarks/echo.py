"""A bare MQTT 5 echo in its own process: what a Python client costs that does nothing with a request.

On one more topic the bytes go through a second process and back, by the means that the agent has for it: whatever
keeps the engine out of the process that holds the connection costs that much.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.child import READY, child
from benchmarks.requester import Reply, set_no_delay
from support.brokers import Broker

# Publishes the request's bytes back and nothing else.
BARE_TOPIC = "bench/echo/bare"
# Answers with a packet like the agent's: as many of the request's bytes, and the properties the contract asks for.
ALIKE_TOPIC = "bench/echo/alike"
# Publishes the request's bytes back after a second process has had them.
RELAYED_TOPIC = "bench/echo/relayed"
_LARGEST_PACKET = 131_072


@contextmanager
def echo_service(broker: Broker, *, like: Reply) -> Iterator[None]:
    """Run the echo; on the second topic its replies have the length and the properties of this one."""
    with child("benchmarks.echo", [broker.host, broker.port, len(like.payload), like.content_type, like.user]):
        yield


def main() -> None:
    """Echo until killed; the one argument is host and port, and the length and properties of replies, as JSON."""
    host, port, alike_bytes, content_type, user = json.loads(sys.argv[1])

    relay = _start_relay()

    def on_message(client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = message.properties.CorrelationData
        payload = message.payload
        if message.topic == RELAYED_TOPIC:
            relay.send(payload)
            payload = relay.recv(_LARGEST_PACKET)
        if message.topic == ALIKE_TOPIC:
            payload = payload[:alike_bytes]
            properties.ContentType = content_type
            properties.UserProperty = [tuple(pair) for pair in user]
        client.publish(message.properties.ResponseTopic, payload, qos=1, properties=properties)

    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bench-echo", protocol=paho.MQTTv5)
    client.on_socket_open = set_no_delay
    client.on_connect = lambda *_: client.subscribe([(BARE_TOPIC, 1), (ALIKE_TOPIC, 1), (RELAYED_TOPIC, 1)])
    client.on_subscribe = lambda *_: print(READY, flush=True)
    client.on_message = on_message
    client.connect(host, port)
    client.loop_forever()


def _start_relay() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    while packet := theirs.recv(_LARGEST_PACKET):
        theirs.send(packet)
    os._exit(0)


if __name__ == "__main__":
    main()
