"""The options of a connection: the broker's address, TLS and the session's limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drupelet_agent.mqtt.message import Publication

if TYPE_CHECKING:
    from ssl import SSLContext


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """The options of one MQTT 5 session.

    Attributes:
        host: The broker's name or address.
        port: Its TCP port.
        client_id: Identifies the session at the broker.
        username: The account, for brokers that require one.
        password: The account's password; never shown in a repr.
        tls: The context for TLS; None connects in plain text.
        keepalive_s: Seconds of silence after which each side considers the other gone.
        session_expiry_s: Seconds for which the broker keeps the session after the connection ended.
        receive_maximum: How many QoS 1 messages the broker may send before we have acknowledged the first.
        max_packet_bytes: The largest packet we read.
        max_pending_bytes: Bytes unsent above which nothing more is read from the socket until half of them have left;
            with this many bytes unsent or unacknowledged, QoS 0 publications are dropped, and with twice as many, those
            of QoS 1 as well.
        will: Published by the broker when the connection is lost.
        will_delay_s: Seconds the broker waits before it publishes the will.
    """

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    tls: SSLContext | None = None
    keepalive_s: int = 30
    session_expiry_s: int = 300
    receive_maximum: int = 64
    max_packet_bytes: int = 65_536
    max_pending_bytes: int = 16_777_216
    will: Publication | None = None
    will_delay_s: int = 0
