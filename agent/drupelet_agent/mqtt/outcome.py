"""What becomes of a publication."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class PublishOutcome(Enum):
    """The end of one publication; each publication has exactly one outcome.

    Attributes:
        ACKNOWLEDGED: The broker has acknowledged it; at QoS 0, it was handed to the socket.
        REJECTED: The broker answered with a PUBACK whose reason code is a failure (0x80 or more).
        TOO_LARGE: It exceeds the broker's Maximum Packet Size, the PUBACK says so (0x95, Packet too large), or it
            cannot be encoded as an MQTT packet.
        DROPPED: It ended the connection several times in a row.
        NO_ROOM: Too many bytes are unsent or unacknowledged already.
        UNSENT: There is no connection for a publication of QoS 0, or the session ended before the acknowledgement.
    """

    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    TOO_LARGE = "too_large"
    DROPPED = "dropped"
    NO_ROOM = "no_room"
    UNSENT = "unsent"


OutcomeCallback = Callable[[PublishOutcome, str], None]
"""Receives the outcome of a publication, and a sentence for people that gives the reason (empty on success)."""
