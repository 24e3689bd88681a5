"""A bare MQTT 5 echo in its own process: what a Python client costs that does nothing with a request.

On one more topic the bytes go through a second process and back, by the means that the agent has for it: whatever
keeps the engine out of the process that holds the connection costs that much.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.child import READY, child
from benchmarks.requester import Reply, set_no_delay
from support.broker.brokers import Broker

# Publishes the request's bytes back and nothing else.
BARE_TOPIC = "bench/echo/bare"
# Answers with a packet like the agent's: as many of the request's bytes, and the properties the contract asks for.
ALIKE_TOPIC = "bench/echo/alike"
# Publishes the request's bytes back after a second process has had them.
RELAYED_TOPIC = "bench/echo/relayed"
_SMALL_BYTES = 32_768
_LARGEST_BYTES = 16 * 2**20


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
            payload = relay(payload)
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


def _start_relay() -> Callable[[bytes], bytes]:
    """Return a second process that takes bytes and gives them back: small ones in a packet, others in shared memory."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = os.memfd_create("relay")
    os.ftruncate(memory, _LARGEST_BYTES)
    if not os.fork():
        ours.close()
        _relay(theirs, memory)
    theirs.close()

    def ask(payload: bytes) -> bytes:
        if len(payload) <= _SMALL_BYTES:
            ours.send(b"I" + payload)
            return ours.recv(2 * _SMALL_BYTES)[1:]
        os.pwrite(memory, payload, 0)
        ours.send(b"M" + len(payload).to_bytes(4, "big"))
        return os.pread(memory, int.from_bytes(ours.recv(16)[1:], "big"), 0)

    return ask


def _relay(channel: socket.socket, memory: int) -> NoReturn:
    shared = mmap.mmap(memory, _LARGEST_BYTES)
    while packet := channel.recv(2 * _SMALL_BYTES):
        if packet[:1] == b"M":
            length = int.from_bytes(packet[1:], "big")
            shared[:length] = bytes(shared[:length])
        channel.send(packet)
    os._exit(0)


if __name__ == "__main__":
    main()
