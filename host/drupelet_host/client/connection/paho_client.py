"""paho's client, made to live on after unlisted reasons, and to read many packets with few system calls."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

log = logging.getLogger(__name__)

_UNSPECIFIED_ERROR = 0x80
# Behind the packet identifier (MQTT 5, section 3.4.2.1).
_REASON_OFFSET = 2
PACKET_TOO_LARGE = 0x95
_BUFFER_BYTES = 1 << 16
# While packets keep arriving, what is due besides is done after so many.
_PACKETS_UNTIL_MISC = 500
# The first byte of a PUBLISH of QoS 0, and whether it is retained (MQTT 5, section 3.3.1).
_PLAIN_PUBLISH = {0x30: False, 0x31: True}
_SEVEN_BITS, _MORE = 0x7F, 0x80
_MAX_LENGTH_BYTES = 4

PlainMessageHandler = Callable[[str, bytes, bool], None]


class TolerantClient(Client):
    """A client that goes on after reason codes that paho does not expect.

    mosquitto answers a payload above its message_size_limit with PUBACK reason 0x95, which the specification lists for
    CONNACK and DISCONNECT alone. At it paho 2.1 ends its network thread, and paho 2.2 reconnects and
    sends the same message again, without end.

    paho asks the system for each header byte by itself and waits for the socket before each packet, which is much where
    a fleet sends thousands of messages a second. This client reads what there is at once, and hands over messages of
    QoS 0 without properties, which need no answer, without paho's objects for each of them: 3 instead of 60
    microseconds.

    Attributes:
        on_plain_message: Called instead of `on_message` for these messages, with topic, payload and whether it is
            retained; None leaves them to `on_message`.
        puback_reason: The reason of the PUBACK that `on_publish` is called for, as the broker sent it.
    """

    on_plain_message: PlainMessageHandler | None = None
    puback_reason: int = 0
    _unread: memoryview = memoryview(b"")

    @property
    def has_unread(self) -> bool:
        """Whether more has been read from the socket than was handled."""
        return bool(self._unread)

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # noqa: ARG002 - paho's signature
        """Handle every packet that has been read from the socket, of which the socket itself gives no sign any more.

        paho's own handles as many packets as there are messages to publish, and writes none of these meanwhile: beside
        telemetry of 10,000 devices, 30,000 messages of a roll-out were not sent within a minute.
        """
        handled = 0
        while self._sock is not None:
            result = self._packet_read()
            if result == MQTTErrorCode.MQTT_ERR_AGAIN:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return self._loop_rc_handle(result)
            handled += 1 + self._hand_over_plain_messages()
            if not self._unread:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            if handled >= _PACKETS_UNTIL_MISC:
                handled = 0
                if self.want_write():
                    self.loop_write()
                self.loop_misc()
        return MQTTErrorCode.MQTT_ERR_NO_CONN

    def _hand_over_plain_messages(self) -> int:
        """Hand over the plain messages that have been read whole, up to the first packet of another kind."""
        if self.on_plain_message is None or self._in_packet["command"]:
            return 0
        count = 0
        with self._in_callback_mutex:
            while (packet := _split_plain_publish(self._unread)) is not None:
                topic, payload, is_retained, self._unread = packet
                self.on_plain_message(topic, payload, is_retained)
                count += 1
        return count

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self._unread:
            self._unread = memoryview(super()._sock_recv(_BUFFER_BYTES))
        taken, self._unread = bytes(self._unread[:bufsize]), self._unread[bufsize:]
        return taken

    def _sock_close(self) -> None:
        self._unread = memoryview(b"")
        super()._sock_close()

    def _packet_handle(self) -> MQTTErrorCode:
        try:
            return super()._packet_handle()
        except (KeyError, ValueError, IndexError) as error:
            # paho closes the connection and makes a new one.
            log.warning("packet of the broker cannot be read error=%r", error)
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        packet = bytes(self._in_packet["packet"])
        self.puback_reason = packet[_REASON_OFFSET] if len(packet) > _REASON_OFFSET else 0
        if not _is_listed(self.puback_reason):
            changed = bytearray(packet)
            changed[_REASON_OFFSET] = _UNSPECIFIED_ERROR
            self._in_packet["packet"] = changed
        return super()._handle_pubackcomp(cmd)


def _split_plain_publish(data: memoryview) -> tuple[str, bytes, bool, memoryview] | None:
    """Split a first packet from the rest; None if it is incomplete or not a PUBLISH of QoS 0 without properties."""
    size = len(data)
    if size < 2 or data[0] not in _PLAIN_PUBLISH:  # noqa: PLR2004 - a header has at least two bytes
        return None
    length, start = data[1] & _SEVEN_BITS, 2
    while data[start - 1] & _MORE:
        if start == size or start > _MAX_LENGTH_BYTES:
            return None
        length |= (data[start] & _SEVEN_BITS) << (7 * (start - 1))
        start += 1
    end, topic_start = start + length, start + 2
    if end > size or topic_start > end:
        return None
    topic_end = topic_start + (data[start] << 8 | data[start + 1])
    # Without a topic there is a Topic Alias; the byte behind the topic is the length of the properties.
    if topic_end == topic_start or topic_end >= end or data[topic_end]:
        return None
    try:
        topic = str(data[topic_start:topic_end], "utf-8")
    except UnicodeDecodeError:
        return None
    return topic, bytes(data[topic_end + 1 : end]), _PLAIN_PUBLISH[data[0]], data[end:]


def describe_puback(reason: int) -> str:
    """Return the text for a PUBACK's reason code."""
    if reason == PACKET_TOO_LARGE:
        return "Packet too large"
    return str(ReasonCode(PacketTypes.PUBACK, identifier=reason)) if _is_listed(reason) else f"reason {reason:#04x}"


def _is_listed(reason: int) -> bool:
    try:
        ReasonCode(PacketTypes.PUBACK, identifier=reason)
    except (KeyError, ValueError, AssertionError):
        return False
    return True
