"""The repair of a broker that cannot be used, by the kind of its error and not by the text of its message."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from drupelet_agent.errors import ConfigError, ConfigReason
from drupelet_agent.mqtt.errors import ConnectFailedError
from drupelet_agent.mqtt.status import ConnectionProblem

_DEFAULT = "start the broker, or correct broker.host and broker.port"
_BY_REASON = {
    ConfigReason.CREDENTIAL: "credentials are there for the service alone: run this in it, or see its log",
    ConfigReason.SECRET: "correct broker.password_file, and make it readable for this user",
    ConfigReason.TLS_FILES: "correct the paths in [broker.tls], and make the files readable for this user",
}
_BY_CAUSE = (
    (
        ssl.SSLCertVerificationError,
        "broker.tls.ca_file must be the authority of the broker's certificate; see its dates",
    ),
    (socket.gaierror, "correct broker.host, or repair the device's name resolution"),
)
_BY_PROBLEM = {
    ConnectionProblem.ACCOUNT_REFUSED: (
        "correct broker.username and broker.password_file, or allow this account in the broker"
    ),
    ConnectionProblem.CLOSED: "the broker may want TLS or a client certificate: see [broker.tls] and its log",
    ConnectionProblem.PROTOCOL_VERSION: "use a broker that speaks MQTT 5, or enable it there",
}


def repair_of(error: Exception) -> str:
    """Return the repair for an error of connecting to the broker."""
    if isinstance(error, ConfigError):
        return _BY_REASON.get(error.reason, _DEFAULT)
    for cause in _causes(error):
        for kind, repair in _BY_CAUSE:
            if isinstance(cause, kind):
                return repair
    if isinstance(error, ConnectFailedError):
        return _BY_PROBLEM.get(error.problem, _DEFAULT)
    return _DEFAULT


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__
