"""Opens the socket to the broker, plain or with TLS, without holding up the event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drupelet_agent.config import BrokerConfig, TlsConfig
from drupelet_agent.errors import ConfigError
from drupelet_shared.transport import make_tls_context, set_no_delay

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


class Dialler:
    """Knows where the broker is and what TLS needs."""

    def __init__(self, config: BrokerConfig) -> None:
        """Read what TLS needs.

        Raises:
            ConfigError: A file of it cannot be used.
        """
        self._config = config
        self._tls = None if config.tls is None else _make_context(config.tls)

    async def dial(self) -> Opened:
        """Connect; name resolution, TCP and TLS handshakes block, so they happen on another thread.

        Raises:
            OSError: It did not work.
        """
        dialling = asyncio.get_running_loop().run_in_executor(None, self._dial)
        try:
            return await asyncio.shield(dialling)
        except asyncio.CancelledError:
            dialling.add_done_callback(_close)
            raise

    def _dial(self) -> Opened:
        plain = socket.create_connection((self._config.host, self._config.port), timeout=_TIMEOUT_S)
        try:
            set_no_delay(plain)
            opened = Opened(plain) if self._tls is None else _secure(plain, self._tls, self._config.host)
        except BaseException:
            plain.close()
            raise
        opened.socket.settimeout(0)
        return opened


def _make_context(tls: TlsConfig) -> SSLContext:
    try:
        return make_tls_context(ca_file=tls.ca_file, cert_file=tls.cert_file, key_file=tls.key_file)
    except OSError as error:
        # What OpenSSL says of a file does not name it.
        files = ", ".join(str(path) for _, path in tls if path is not None)
        raise ConfigError(f"broker credentials {files}: {error}") from error


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
