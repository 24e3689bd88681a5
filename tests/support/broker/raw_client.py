"""A client of MQTT 5 that sends whatever bytes it is given."""

from __future__ import annotations

import socket
import time

from fakes.scripted_broker import packet, text
from support.broker.brokers import Broker

_LINGER_S = 0.1


def send_raw(broker: Broker, data: bytes, *, client_id: str = "attacker", linger_s: float = _LINGER_S) -> None:
    """Connect, send bytes that a well-behaved client would not, and close the connection.

    Args:
        broker: The broker.
        data: What follows the CONNECT packet.
        client_id: The client identifier, whose session the broker keeps for an hour.
        linger_s: Seconds before the connection is closed.
    """
    connect = text("MQTT") + b"\x05\x00\x00\x3c" + b"\x05\x11\x00\x00\x0e\x10" + text(client_id)
    with socket.create_connection((broker.host, broker.port), timeout=20) as connection:
        connection.sendall(packet(0x10, connect))
        connection.recv(1024)
        connection.sendall(data)
        time.sleep(linger_s)
