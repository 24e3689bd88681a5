"""Opens the socket to the broker, plain or with TLS, without blocking the event loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ssl import SSLContext

_T = TypeVar("_T")

RESOLVE_TIMEOUT_S = 10.0
# For all addresses of a name together, with the TLS handshake.
CONNECT_TIMEOUT_S = 10.0
_ADDRESS_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """A connected socket that does not block.

    Attributes:
        socket: The socket.
        gathers: Whether it writes several buffers at once.
        pending: Returns how many bytes it holds that no longer make its descriptor readable.
        would_block: What it raises where others block.
        quick_acknowledgements: Whether it knows the option TCP_QUICKACK.
    """

    socket: socket.socket
    gathers: bool = True
    pending: Callable[[], int] = lambda: 0
    would_block: tuple[type[OSError], ...] = (BlockingIOError,)
    quick_acknowledgements: bool = False


_SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, _SocketAddress]


_Resolver = Callable[[str, int], Sequence[_Address]]


def _resolve(host: str, port: int) -> Sequence[_Address]:
    """Return the addresses of a name, best first."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Dialler:
    """Opens sockets to one broker.

    Name resolution cannot be interrupted, so it happens on a thread. There is at most one such thread: an attempt that
    finds it still at work waits for it instead of starting another one.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: SSLContext | None,
        resolve: _Resolver = _resolve,
        resolve_timeout_s: float = RESOLVE_TIMEOUT_S,
    ) -> None:
        """Prepare to open sockets.

        Args:
            host: The broker's name or address.
            port: Its TCP port.
            tls: The context for TLS; None connects in plain text.
            resolve: Returns the addresses of a name.
            resolve_timeout_s: Seconds for which one attempt waits for the addresses.
        """
        self._host = host
        self._port = port
        self._tls = tls
        self._resolve = resolve
        self._resolve_timeout_s = resolve_timeout_s
        self._resolving: asyncio.Future[Sequence[_Address]] | None = None

    async def dial(self) -> OpenSocket:
        """Resolve the name, connect, and do the TLS handshake.

        Raises:
            OSError: The name cannot be resolved, no address can be reached, the handshake fails, or one of these takes
                too long.
        """
        addresses = await self._addresses()
        attempt = _Attempt()
        connecting = _in_thread(lambda: attempt.keep(_connect_any(addresses, self._tls, self._host)))
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await asyncio.shield(connecting)
        except TimeoutError as error:
            attempt.abandon()
            if connecting.done():
                raise
            raise TimeoutError(f"no connection within {CONNECT_TIMEOUT_S:.0f} s") from error
        except asyncio.CancelledError:
            attempt.abandon()
            raise

    async def _addresses(self) -> Sequence[_Address]:
        if self._resolving is None:
            self._resolving = _in_thread(lambda: self._resolve(self._host, self._port))
        try:
            async with asyncio.timeout(self._resolve_timeout_s):
                addresses = await asyncio.shield(self._resolving)
        except TimeoutError as error:
            if self._resolving.done():
                raise
            reason = f"the name {self._host} is not resolved within {self._resolve_timeout_s:g} s"
            raise TimeoutError(reason) from error
        finally:
            if self._resolving.done():
                self._resolving = None
        return addresses


class _Attempt:
    """The socket of an attempt to connect that may be abandoned while a thread still works on it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._abandoned = False
        self._opened: OpenSocket | None = None

    def keep(self, opened: OpenSocket) -> OpenSocket:
        """Keep the socket, or close it if the attempt was abandoned."""
        with self._lock:
            self._opened = opened
            if self._abandoned:
                opened.socket.close()
        return opened

    def abandon(self) -> None:
        """Close the socket, now or when it is there."""
        with self._lock:
            self._abandoned = True
            if self._opened is not None:
                self._opened.socket.close()


def _in_thread(work: Callable[[], _T]) -> asyncio.Future[_T]:
    """Run blocking work on a daemon thread, which does not hold up the end of the process as an executor's would."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def run() -> None:
        try:
            conclude = partial(future.set_result, work())
        except Exception as error:  # noqa: BLE001 - the awaiting coroutine raises it
            conclude = partial(future.set_exception, error)
        with suppress(RuntimeError):
            # The loop may be closed by now.
            loop.call_soon_threadsafe(conclude)

    threading.Thread(target=run, name="mqtt-dial", daemon=True).start()
    # An attempt that was given up leaves its error here.
    future.add_done_callback(lambda done: done.exception())
    return future


def _connect_any(addresses: Sequence[_Address], tls: SSLContext | None, host: str) -> OpenSocket:
    """Connect to the first address that answers.

    Raises:
        OSError: No address accepts a connection.
    """
    last_error = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in addresses:
        try:
            return _connect(socket.socket(family, kind, protocol), address, tls, host)
        except OSError as error:
            last_error = error
    raise last_error


def _connect(plain: socket.socket, address: _SocketAddress, tls: SSLContext | None, host: str) -> OpenSocket:
    try:
        plain.settimeout(_ADDRESS_TIMEOUT_S)
        plain.connect(address)
        # Small packets otherwise wait some 40 ms for the acknowledgement of the one before.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened = OpenSocket(plain, quick_acknowledgements=True) if tls is None else _secure(plain, tls, host)
    except BaseException:
        plain.close()
        raise
    opened.socket.settimeout(0)
    return opened


def _secure(plain: socket.socket, context: SSLContext, host: str) -> OpenSocket:
    from ssl import SSLWantReadError, SSLWantWriteError  # noqa: PLC0415 - 3 MB that only TLS needs

    secured = context.wrap_socket(plain, server_hostname=host)
    return OpenSocket(
        secured,
        gathers=False,
        pending=secured.pending,
        would_block=(SSLWantReadError, SSLWantWriteError),
        quick_acknowledgements=True,
    )
