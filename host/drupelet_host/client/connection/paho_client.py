"""paho's client, made to live on after unlisted reasons, and to read many packets with few system calls."""

from __future__ import annotations

import itertools
import logging
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


class TolerantClient(Client):
    """A client that goes on after reason codes that paho does not expect.

    mosquitto answers a payload above its message_size_limit with PUBACK reason 0x95, which the specification lists for
    CONNACK and DISCONNECT alone. At it paho 2.1 ends its network thread, and paho 2.2 reconnects and
    sends the same message again, without end.

    paho asks the system for each header byte by itself and waits for the socket before each packet, which is much where
    a fleet sends thousands of messages a second. This client reads what there is at once.

    Attributes:
        puback_reason: The reason of the PUBACK that `on_publish` is called for, as the broker sent it.
    """

    puback_reason: int = 0
    _unread: memoryview = memoryview(b"")

    @property
    def has_unread(self) -> bool:
        """Whether more has been read from the socket than was handled."""
        return bool(self._unread)

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Handle every packet that has been read from the socket, of which the socket itself gives no sign any more."""
        for count in itertools.count(1):
            result = super().loop_read(max_packets)
            if result != MQTTErrorCode.MQTT_ERR_SUCCESS or not self._unread:
                return result
            if count % _PACKETS_UNTIL_MISC == 0:
                if self.want_write():
                    self.loop_write()
                self.loop_misc()
        raise AssertionError("the count has no end")

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
