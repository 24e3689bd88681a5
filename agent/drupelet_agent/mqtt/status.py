"""The state of a connection in words, for people and for machines."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class ConnectionProblem(Enum):
    """Why a connection is not there or not whole.

    Attributes:
        UNREACHABLE: Name resolution, TCP or the TLS handshake failed.
        NO_ANSWER: The broker accepts the socket and does not answer, or no longer answers.
        PROTOCOL_VERSION: The broker does not speak MQTT 5.
        ACCOUNT_REFUSED: The broker refuses the user name, the password or the client.
        CLIENT_ID_TAKEN: Another client with the same client identifier took over the session.
        BUSY: The broker is unavailable, busy or shutting down.
        REFUSED: The broker refuses the connection for another reason.
        CLOSED: The broker or the network closed the connection.
        UNSTABLE: The broker closed several connections in a row right after it had accepted them.
        PROTOCOL_ERROR: One side broke the protocol.
        SUBSCRIPTION_REFUSED: The broker refuses or does not support a subscription.
        UNSUPPORTED: The broker lacks a feature, so publications are sent without it.
        PUBLICATION_DROPPED: A publication that ended the connection several times in a row was dropped.
        INTERNAL: Handling what the broker sent raised an unexpected exception.
    """

    UNREACHABLE = "broker_unreachable"
    NO_ANSWER = "broker_no_answer"
    PROTOCOL_VERSION = "broker_protocol_version"
    ACCOUNT_REFUSED = "broker_account_refused"
    CLIENT_ID_TAKEN = "broker_client_id_taken"
    BUSY = "broker_busy"
    REFUSED = "broker_refused"
    CLOSED = "broker_closed"
    UNSTABLE = "broker_connection_unstable"
    PROTOCOL_ERROR = "broker_protocol_error"
    SUBSCRIPTION_REFUSED = "broker_subscription_refused"
    UNSUPPORTED = "broker_unsupported"
    PUBLICATION_DROPPED = "publication_dropped"
    INTERNAL = "internal"


class ConnectionEvent(NamedTuple):
    """A change worth a line in a log or an event message.

    Attributes:
        problem: The kind, which is reported once until a connection has lasted; each dropped publication is reported.
        message: One sentence for people: what happened, and what to do.
    """

    problem: ConnectionProblem
    message: str


class ConnectionStatus(NamedTuple):
    """The state of a connection now.

    Attributes:
        connected: Whether the broker has accepted the session and the connection stands.
        problem: Why it is not connected, or what the connection lacks; None while all is well.
        explanation: One sentence for people: why it is not connected or what it lacks; empty while all is well.
    """

    connected: bool
    problem: ConnectionProblem | None
    explanation: str
