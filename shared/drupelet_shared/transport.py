"""What both MQTT clients do to their sockets: TLS as it was configured, and no waiting for small packets."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl import SSLContext


def make_tls_context(*, ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> SSLContext:
    """Return a TLS context that checks the broker's certificate and presents a client certificate if given.

    Args:
        ca_file: The authority of the broker's certificate; the system's authorities by default.
        cert_file: The client certificate.
        key_file: The client certificate's private key.

    Returns:
        The context.

    Raises:
        OSError: A file cannot be read, or is not a certificate or key in PEM.
    """
    from ssl import create_default_context  # noqa: PLC0415 - 3 MB that only TLS needs

    context = create_default_context(cafile=ca_file)
    if cert_file is not None:
        context.load_cert_chain(cert_file, key_file)
    return context


def set_no_delay(opened: object) -> None:
    """Set TCP_NODELAY: small packets otherwise wait some 40 ms for the acknowledgement of the one before."""
    if isinstance(opened, socket.socket):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def acknowledge_now(opened: object) -> None:
    """Set TCP_QUICKACK where the system has it: acknowledge at once what has been read.

    The kernel otherwise delays the acknowledgement by 40 ms, and a peer that uses Nagle's algorithm holds its next
    small packet back until it arrives. The option does not last, so it is set again after each read.
    """
    option = getattr(socket, "TCP_QUICKACK", None)
    if option is not None and isinstance(opened, socket.socket):
        # The socket may have been closed since it was read.
        with suppress(OSError):
            opened.setsockopt(socket.IPPROTO_TCP, option, 1)
