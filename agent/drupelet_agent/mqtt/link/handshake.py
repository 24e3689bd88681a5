"""CONNECT and CONNACK: what the client asks for, and what a refusal means (MQTT 5, sections 3.1 and 3.2)."""

from __future__ import annotations

from drupelet_agent.mqtt.codec import packets
from drupelet_agent.mqtt.codec.decoding import ConnectAnswer
from drupelet_agent.mqtt.codec.packets import Login
from drupelet_agent.mqtt.codec.properties import connect_properties
from drupelet_agent.mqtt.errors import ConnectFailedError
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_agent.mqtt.reasons import (
    QOS_NOT_SUPPORTED,
    RETAIN_NOT_SUPPORTED,
    advise,
    describe_return_code,
    problem_of_refusal,
)
from drupelet_agent.mqtt.status import ConnectionProblem


class Handshake:
    """The CONNECT packets of a session; it gives up features of the will that the broker refuses."""

    def __init__(self, options: ConnectionOptions) -> None:
        """Prepare the handshake.

        Args:
            options: The account, the will and the session's limits.
        """
        self._options = options
        self._will = options.will
        self._properties = connect_properties(
            session_expiry_s=options.session_expiry_s,
            receive_maximum=options.receive_maximum,
            max_packet_bytes=options.max_packet_bytes,
        )

    def encode(self) -> bytes:
        """Encode the next CONNECT packet."""
        options = self._options
        login = Login(
            client_id=options.client_id,
            keepalive_s=options.keepalive_s,
            username=options.username,
            password=options.password,
            will=self._will,
            will_delay_s=options.will_delay_s,
        )
        return packets.encode_connect(login, self._properties)

    def examine(self, answer: ConnectAnswer, broker_name: str) -> ConnectFailedError | None:
        """Return the error that explains a refusal; None if the connection is accepted.

        Args:
            answer: The broker's CONNACK.
            broker_name: The broker's name for the explanation.
        """
        if not answer.is_mqtt_5:
            return ConnectFailedError(
                f"{broker_name} refuses the connection: it speaks MQTT 3.1.1 (return code {answer.reason}, "
                f"{describe_return_code(answer.reason)}), and this client MQTT 5: use a broker that does, or enable it",
                problem=ConnectionProblem.PROTOCOL_VERSION,
            )
        if not answer.reason:
            return None
        self._adapt_will(answer.reason)
        text = answer.properties.reason or answer.properties.server_reference
        return ConnectFailedError(
            f"{broker_name} refuses the connection: {advise(answer.reason, text)}",
            problem=problem_of_refusal(answer.reason),
        )

    def _adapt_will(self, reason: int) -> None:
        """Let the next CONNECT have a will that the broker accepts ([MQTT-3.2.2-12] and [MQTT-3.2.2-13])."""
        if self._will is not None and reason == QOS_NOT_SUPPORTED:
            self._will = self._will._replace(qos=0)
        elif self._will is not None and reason == RETAIN_NOT_SUPPORTED:
            self._will = self._will._replace(retain=False)
