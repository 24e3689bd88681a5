"""The errors of the MQTT client.

MqttError
|-- ConnectFailedError      the broker cannot be reached or refuses the session
|-- EncodingError           a value does not fit into an MQTT packet
`-- ProtocolError           the broker broke the specification
    |-- MalformedPacketError    bytes that are no MQTT 5 packet
    |-- PacketSizeError         a packet larger than the limit in CONNECT
    `-- TopicAliasError         a topic alias, which CONNECT does not allow
"""

from __future__ import annotations

from typing import ClassVar

from drupelet_agent.mqtt.status import ConnectionProblem


class MqttError(Exception):
    """The root of every error the client raises on purpose."""


class ConnectFailedError(MqttError):
    """The broker cannot be reached, does not answer or refuses the session.

    Attributes:
        problem: The kind of failure.
    """

    def __init__(self, message: str, *, problem: ConnectionProblem = ConnectionProblem.UNREACHABLE) -> None:
        """Describe a failed attempt to connect.

        Args:
            message: What failed, for people.
            problem: The kind of failure.
        """
        super().__init__(message)
        self.problem = problem


class EncodingError(MqttError):
    """A text, a topic or a packet is too long for MQTT, or contains characters that MQTT forbids."""


class ProtocolError(MqttError):
    """The broker sent a packet that MQTT 5 does not allow here.

    Attributes:
        reason: The reason code for the DISCONNECT packet that ends the connection.
    """

    reason: ClassVar[int] = 0x82


class MalformedPacketError(ProtocolError):
    """The broker sent bytes that are not MQTT 5."""

    reason: ClassVar[int] = 0x81


class PacketSizeError(ProtocolError):
    """The broker sent a packet larger than the Maximum Packet Size of our CONNECT."""

    reason: ClassVar[int] = 0x95


class TopicAliasError(ProtocolError):
    """The broker sent a Topic Alias, which our CONNECT does not allow."""

    reason: ClassVar[int] = 0x94
