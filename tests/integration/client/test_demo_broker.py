from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable

from paho.mqtt.client import Client, MQTTMessage, MQTTProtocolVersion
from paho.mqtt.enums import CallbackAPIVersion

from drupelet_host.demo.broker import demo_broker, free_port
from support.agent.processes import killed_at_the_end
from support.broker.brokers import Broker

PATIENCE_S = 10


def connect(port: int, protocol: MQTTProtocolVersion) -> Client:
    client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert connected.wait(PATIENCE_S)
    return client


def disconnect(*clients: Client) -> None:
    for client in clients:
        client.disconnect()
        client.loop_stop()


def collect(arrived: threading.Event, into: list[bytes]) -> Callable[[Client, object, MQTTMessage], None]:
    def receive(_: Client, __: object, message: MQTTMessage) -> None:
        into.append(message.payload)
        arrived.set()

    return receive


def test_clients_of_both_protocol_versions_reach_each_other_through_every_broker(broker: Broker) -> None:
    old = connect(broker.port_311, MQTTProtocolVersion.MQTTv311)
    new = connect(broker.port, MQTTProtocolVersion.MQTTv5)
    subscribed, arrived, payloads = threading.Event(), threading.Event(), []
    old.on_subscribe = lambda *_: subscribed.set()
    old.on_message = collect(arrived, payloads)
    old.subscribe("drupelet/v1/pi/result/m", qos=1)
    assert subscribed.wait(PATIENCE_S)
    new.publish("drupelet/v1/pi/result/m", b"x" * 10_000_000, qos=1)
    assert arrived.wait(PATIENCE_S)
    assert payloads == [b"x" * 10_000_000]
    disconnect(old, new)


def test_the_ports_are_closed_when_the_context_ends() -> None:
    with demo_broker() as broker:
        socket.create_connection((broker.host, broker.port), timeout=PATIENCE_S).close()
    with socket.socket() as probe:
        assert probe.connect_ex((broker.host, broker.port)) != 0


def test_the_process_ends_with_its_parent() -> None:
    command = [sys.executable, "-m", "drupelet_host.demo.broker"]
    command += ["--port", str(free_port()), "--port-311", str(free_port())]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with killed_at_the_end(started) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0
