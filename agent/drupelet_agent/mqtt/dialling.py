"""Opens the socket to the broker, plain or with TLS, without holding up the event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl import SSLContext

_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Opened:
    """A connected socket that does not block.

    Attributes:
        socket: The socket.
        gathers: Whether it writes several buffers at once.
        pending: How many bytes it holds that no longer make its descriptor readable.
        would_block: What it raises where others block.
    """

    socket: socket.socket
    gathers: bool = True
    pending: Callable[[], int] = lambda: 0
    would_block: tuple[type[OSError], ...] = (BlockingIOError,)


async def dial(host: str, port: int, *, tls: SSLContext | None) -> Opened:
    """Connect; name resolution, TCP and TLS handshakes block, so they happen on another thread.

    Args:
        host: The broker's name or address.
        port: Its TCP port.
        tls: The context for TLS; None connects in plain text.

    Raises:
        OSError: The name cannot be resolved, the broker cannot be reached, or the handshake failed.
    """
    dialling = asyncio.get_running_loop().run_in_executor(None, _dial, host, port, tls)
    try:
        return await asyncio.shield(dialling)
    except asyncio.CancelledError:
        dialling.add_done_callback(_close)
        raise


def _dial(host: str, port: int, tls: SSLContext | None) -> Opened:
    plain = socket.create_connection((host, port), timeout=_TIMEOUT_S)
    try:
        # Small packets otherwise wait some 40 ms for the acknowledgement of the one before.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened = Opened(plain) if tls is None else _secure(plain, tls, host)
    except BaseException:
        plain.close()
        raise
    opened.socket.settimeout(0)
    return opened


def _secure(plain: socket.socket, context: SSLContext, host: str) -> Opened:
    from ssl import SSLWantReadError, SSLWantWriteError  # noqa: PLC0415 - 3 MB that only TLS needs

    secured = context.wrap_socket(plain, server_hostname=host)
    return Opened(
        secured,
        gathers=False,
        pending=secured.pending,
        would_block=(SSLWantReadError, SSLWantWriteError),
    )


def _close(dialling: asyncio.Future[Opened]) -> None:
    if not dialling.cancelled() and dialling.exception() is None:
        dialling.result().socket.close()
