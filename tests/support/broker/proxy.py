"""A TCP proxy on loopback between a client and a broker: it cuts, holds, delays, trickles and records when told."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from support.broker.brokers import LOOPBACK, Broker

_POLL_S = 0.05
_CHUNK_BYTES = 65_536


class Proxy:
    """Passes bytes both ways; what it is told is done on its own thread, between two chunks.

    Attributes:
        broker: Where clients connect.
        cuts: How often connections were reset.
        sent: What each connection's client has sent, in the order of the connections.
        chunk_bytes: The most that is passed on at once.
        delay_s: How long each chunk takes.
    """

    def __init__(self, broker: Broker) -> None:
        self._target = (broker.host, broker.port)
        self._listening = socket.create_server((LOOPBACK, 0))
        self._listening.settimeout(0)
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._sent_by: dict[socket.socket, bytearray] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._orders: list[Callable[[], None]] = []
        self._held = False
        self._bytes_left: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.cuts = 0
        self.sent: list[bytearray] = []
        self.chunk_bytes = _CHUNK_BYTES
        self.delay_s = 0.0
        port = self._listening.getsockname()[1]
        self.broker = Broker(host=LOOPBACK, port=port, port_311=port, kind=broker.kind)

    def start(self) -> None:
        self._thread.start()

    def cut(self) -> None:
        """Reset every connection, whatever is under way in it."""
        self._orders.append(self._reset_all)

    def cut_after(self, count: int) -> None:
        """Reset every connection once so many more bytes have passed, in the middle of a packet or not."""
        self._bytes_left = count

    def half_close(self) -> None:
        """Tell every client that nothing more will come from the broker, which goes on listening to it."""
        self._orders.append(self._end_all_downstream)

    def hold(self) -> None:
        """Pass nothing on until `release`; connections stay open and new ones are taken."""
        self._held = True

    def release(self) -> None:
        """Pass on again, first of all what has waited."""
        self._held = False

    def aim(self, broker: Broker) -> None:
        """Take new connections to another broker."""
        self._target = (broker.host, broker.port)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._reset_all()
        self._listening.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            while self._orders:
                self._orders.pop(0)()
            for key, _ in self._selector.select(_POLL_S):
                if key.fileobj is self._listening:
                    self._accept()
                elif self._held:
                    time.sleep(_POLL_S)
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._pairs:
                    self._pass_on(key.fileobj)

    def _accept(self) -> None:
        near, _ = self._listening.accept()
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            one.settimeout(None)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)
        self.sent.append(bytearray())
        self._sent_by[near] = self.sent[-1]

    def _pass_on(self, source: socket.socket) -> None:
        try:
            data = source.recv(min(self.chunk_bytes, self._bytes_left or _CHUNK_BYTES))
            if data:
                time.sleep(self.delay_s)
                self._sent_by.get(source, bytearray()).extend(data)
                self._pairs[source].sendall(data)
        except OSError:
            data = b""
        if not data:
            for one in (source, self._pairs[source]):
                self._forget(one)
        if self._bytes_left is not None:
            self._bytes_left -= len(data)
            if self._bytes_left <= 0:
                self._bytes_left = None
                self._reset_all()

    def _reset_all(self) -> None:
        self.cuts += bool(self._pairs)
        for one in list(self._pairs):
            # A linger of zero makes the close a reset: what is still buffered is lost, as on a real link.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self._forget(one)

    def _end_all_downstream(self) -> None:
        self.cuts += bool(self._pairs)
        for near in self._sent_by:
            far = self._pairs[near]
            with suppress(KeyError, OSError):
                self._selector.unregister(far)
                near.shutdown(socket.SHUT_WR)

    def _forget(self, one: socket.socket) -> None:
        self._pairs.pop(one, None)
        self._sent_by.pop(one, None)
        with suppress(KeyError):
            self._selector.unregister(one)
        one.close()


@contextmanager
def proxy(broker: Broker) -> Iterator[Proxy]:
    """Yield a running proxy in front of a broker."""
    running = Proxy(broker)
    running.start()
    try:
        yield running
    finally:
        running.stop()
