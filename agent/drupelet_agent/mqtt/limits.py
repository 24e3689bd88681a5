"""What a broker says about itself when it accepts a connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drupelet_agent.mqtt.codec.properties import Properties

# Defaults of MQTT 5, section 3.2.2.3: what holds where the CONNACK names no limit.
_RECEIVE_MAXIMUM = 65_535
_MAXIMUM_QOS = 2


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """The capabilities in a CONNACK packet (MQTT 5, section 3.2.2.3).

    Attributes:
        maximum_packet_bytes: The largest packet that the broker accepts; None where it names no limit.
        maximum_qos: The highest QoS at which the broker accepts publications.
        retain_available: Whether the broker keeps retained messages.
        wildcard_available: Whether the broker accepts topic filters with wildcards.
        shared_available: Whether the broker accepts shared subscriptions.
        receive_maximum: How many QoS 1 publications the broker accepts before it has acknowledged the first.
        server_keepalive_s: The keep alive that the broker imposes, in seconds; None where it takes the client's.
        assigned_client_id: The client identifier that the broker chose; None where it takes the client's.
    """

    maximum_packet_bytes: int | None = None
    maximum_qos: int = _MAXIMUM_QOS
    retain_available: bool = True
    wildcard_available: bool = True
    shared_available: bool = True
    receive_maximum: int = _RECEIVE_MAXIMUM
    server_keepalive_s: int | None = None
    assigned_client_id: str | None = None

    @classmethod
    def from_properties(cls, properties: Properties) -> BrokerLimits:
        """Read the limits from the properties of a CONNACK packet."""
        return cls(
            maximum_packet_bytes=properties.maximum_packet_bytes,
            maximum_qos=_MAXIMUM_QOS if properties.maximum_qos is None else properties.maximum_qos,
            retain_available=properties.retain_available != 0,
            wildcard_available=properties.wildcard_available != 0,
            shared_available=properties.shared_available != 0,
            receive_maximum=properties.receive_maximum or _RECEIVE_MAXIMUM,
            server_keepalive_s=properties.server_keepalive_s,
            assigned_client_id=properties.assigned_client_id,
        )
