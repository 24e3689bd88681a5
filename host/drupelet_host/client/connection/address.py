"""The address of a broker: host, port, account and TLS."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from drupelet_shared.errors import InvalidValueError

PASSWORD_VARIABLE = "DRUPELET_PASSWORD"  # noqa: S105 - the variable's name, not a password
_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """TLS of a connection to a broker.

    Attributes:
        ca_file: The certificate authority of the broker; the system's authorities by default.
        cert_file: The client certificate; none by default.
        key_file: The key of the client certificate.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker and the account to use there.

    Attributes:
        host: The host name or IP address.
        port: The TCP port.
        username: The account's name; None connects without an account.
        password: The account's password, which the repr leaves out.
        tls: The TLS options; None connects in plain text.
    """

    host: str
    port: int = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsOptions | None = None

    def __str__(self) -> str:
        # The colons of an IPv6 address are told from that of the port by brackets.
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_broker_url(url: str, *, password: str | None = None, tls: TlsOptions | None = None) -> BrokerAddress:
    """Parse a URL such as `mqtt://host:1883` or `mqtts://user@host:8883`.

    Args:
        url: The URL; the port is 1883 or 8883 by default.
        password: The password of the URL's user. The URL must not hold it, because process lists show URLs.
        tls: Certificates of an `mqtts` URL.

    Returns:
        The broker's address.

    Raises:
        InvalidValueError: The URL is malformed or holds a password, a password is given without a user, or certificates
            are given for a plain connection.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidValueError(f"broker {url!r}: {error}") from error
    _check_parts(url, parts)
    port = _read_port(url, parts)
    if tls is not None and parts.scheme != "mqtts":
        raise InvalidValueError(f"broker {url!r}: certificates need an mqtts:// URL")
    if password is not None and parts.username is None:
        raise InvalidValueError(f"broker {url!r}: a password needs a user, as in mqtts://user@host")
    return BrokerAddress(
        host=parts.hostname or "",
        port=port or _DEFAULT_PORTS[parts.scheme],
        username=parts.username,
        password=password,
        tls=(tls or TlsOptions()) if parts.scheme == "mqtts" else None,
    )


def _read_port(url: str, parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        # Beyond 65535, or no number.
        port = 0
    if port == 0:
        raise InvalidValueError(f"broker {url!r}: expected a port of 1 to 65535")
    return port


def read_password(file: Path | None) -> str | None:
    """Return the first line of a file, or without a file the variable `DRUPELET_PASSWORD`; None if it is not set.

    Raises:
        InvalidValueError: The file cannot be read.
    """
    if file is None:
        return os.environ.get(PASSWORD_VARIABLE)
    try:
        return file.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"password file {file}: {error}") from error


def _check_parts(url: str, parts: SplitResult) -> None:
    if parts.password is not None:
        # The message leaves the URL out, since it holds the password.
        raise InvalidValueError(f"broker {parts.hostname!r}: put the password in a file or in {PASSWORD_VARIABLE}")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path not in {"", "/"}:
        raise InvalidValueError(f"broker {url!r}: expected mqtt://[user@]host[:port] or mqtts://[user@]host[:port]")
