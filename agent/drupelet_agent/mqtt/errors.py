"""The errors of the MQTT client.

MqttError
|-- ConnectFailedError      the broker cannot be reached or refuses the session
`-- MalformedPacketError    the broker broke the specification
    `-- PacketSizeError     a packet larger than the limit in CONNECT
"""

from __future__ import annotations


class MqttError(Exception):
    """The root of every error the client raises on purpose."""


class ConnectFailedError(MqttError):
    """The broker cannot be reached, does not answer or refuses the session."""


class MalformedPacketError(MqttError):
    """The broker sent bytes that are not MQTT 5."""


class PacketSizeError(MalformedPacketError):
    """The broker sent a packet larger than the Maximum Packet Size of our CONNECT."""
