"""Detection of a broker that holds small messages back for 40 ms.

A broker with Nagle's algorithm keeps a small packet until the client has acknowledged the one before, and the client's
kernel delays that acknowledgement by 40 ms. The client acknowledges at once where its system can, but agents on older
systems and other clients cannot.
"""

from __future__ import annotations

import queue
import socket
import statistics
import time

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.connection import Connection
from drupelet_host.client.connection.transport import ReceivedMessage
from drupelet_host.errors import BrokerError
from drupelet_shared.contract.topics import DEFAULT_PREFIX

_PAIRS = 12
# The kernel acknowledges the first packets of a connection at once.
_SKIPPED_PAIRS = 4
# Linux delays acknowledgements by 40 ms; less than this is the network's own.
_SLOW_MS = 30.0
DELAY_ADVICE = (
    "the broker holds small messages back for about 40 ms: turn off Nagle's algorithm there "
    "(mosquitto.conf: set_tcp_nodelay true)"
)


def delays_small_messages(broker: BrokerAddress, *, prefix: str = DEFAULT_PREFIX, timeout_s: float = 2.0) -> bool:
    """Tell whether a broker holds small messages back, from a few that it sends back to this client.

    Args:
        broker: The broker's address.
        prefix: The first levels of the topics; the messages go to a reply topic under it.
        timeout_s: The limit for each step.

    Returns:
        True if pairs of messages take much longer than the network does; False also if it cannot be measured.
    """
    network_ms = _connect_ms(broker, timeout_s=timeout_s)
    if network_ms is None:
        return False
    connection = Connection(broker, keeps_session=False, acknowledges_at_once=False)
    received: queue.SimpleQueue[ReceivedMessage] = queue.SimpleQueue()
    topic = f"{prefix.strip('/')}/clients/{connection.client_id}/reply"
    try:
        connection.open(topic, on_message=received.put, timeout_s=timeout_s)
    except BrokerError:
        return False
    try:
        pairs_ms = [_send_pair(connection, topic, received, timeout_s=timeout_s) for _ in range(_PAIRS)]
    except queue.Empty:
        # The account may not publish there.
        return False
    finally:
        connection.close()
    return statistics.median(pairs_ms[_SKIPPED_PAIRS:]) - network_ms > _SLOW_MS


def _send_pair(
    connection: Connection, topic: str, received: queue.SimpleQueue[ReceivedMessage], *, timeout_s: float
) -> float:
    start = time.perf_counter()
    for _ in range(2):
        connection.publish(topic, b"echo")
    for _ in range(2):
        received.get(timeout=timeout_s)
    return (time.perf_counter() - start) * 1e3


def _connect_ms(broker: BrokerAddress, *, timeout_s: float) -> float | None:
    """Return the time of one round trip over the network; None if the broker cannot be reached."""
    start = time.perf_counter()
    try:
        socket.create_connection((broker.host, broker.port), timeout=timeout_s).close()
    except OSError:
        return None
    return (time.perf_counter() - start) * 1e3
