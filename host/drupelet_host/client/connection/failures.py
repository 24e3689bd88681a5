"""What to do about a broker that cannot be used, by the kind of the error."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping

from paho.mqtt.reasoncodes import ReasonCode

from drupelet_host.client.connection.address import BrokerAddress

_START = "Start one (on Debian: `sudo systemctl start mosquitto`) or give the address of another"
_ACCOUNT = "Give the account: mqtt://USER@HOST, and its password with --password-file or in DRUPELET_PASSWORD"
_CLOSED = "It may want TLS (mqtts://) or a client certificate (--cert-file and --key-file)"
_NO_TLS = "It may have no TLS at this port: without TLS the address begins with mqtt://"
_AUTHORITY = "Name the authority that signed it with --ca-file"
_ADVICE: Mapping[type[OSError], str] = {
    socket.gaierror: "Check the host's name, or use its IP address",
    ConnectionResetError: _CLOSED,
}
_ACCOUNT_REFUSED = frozenset({134, 135})
_OTHER_VERSION = 132


def explain_error(error: OSError | ValueError, *, broker: BrokerAddress, timeout_s: float) -> str:
    """Return what is wrong with a broker that cannot be connected to, and what to do.

    Args:
        error: The error of connecting.
        broker: The broker's address.
        timeout_s: The limit for connecting.
    """
    if isinstance(error, ConnectionRefusedError):
        return f"{error}: no MQTT broker listens there. {_START}"
    if isinstance(error, TimeoutError):
        return f"no connection within {timeout_s:g} s. Check the address, and that no firewall is in the way"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}. {_AUTHORITY}"
    if isinstance(error, ssl.SSLError) or (isinstance(error, ConnectionResetError) and broker.tls is not None):
        return f"{error}. {_NO_TLS}"
    for kind, advice in _ADVICE.items():
        if isinstance(error, kind):
            return f"{error}. {advice}"
    return str(error)


def explain_refusal(reason: ReasonCode) -> str:
    """Return why a broker refuses a client, and what to do."""
    if reason.value in _ACCOUNT_REFUSED:
        return f"{reason}. {_ACCOUNT}"
    if reason.value == _OTHER_VERSION:
        return f"{reason}: it does not speak MQTT 5. Enable it there, or use another broker"
    return str(reason)


def explain_closing(reason: ReasonCode) -> str:
    """Return that a broker closed the connection before it accepted the client, and what to do."""
    return f"connection closed before it was accepted: {reason}. {_CLOSED}"
