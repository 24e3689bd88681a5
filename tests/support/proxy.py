"""A TCP proxy on loopback that stands between the agent and a broker and cuts connections when told."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from support.brokers import LOOPBACK, Broker

_POLL_S = 0.05
_CHUNK_BYTES = 65_536


class Proxy:
    """Passes bytes both ways; `cut()` resets every connection there is, and new ones are taken again."""

    def __init__(self, broker: Broker) -> None:
        self._target = (broker.host, broker.port)
        self._listening = socket.create_server((LOOPBACK, 0))
        self._listening.settimeout(0)
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._cut = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.cuts = 0
        port = self._listening.getsockname()[1]
        self.broker = Broker(host=LOOPBACK, port=port, port_311=port, kind=broker.kind)

    def start(self) -> None:
        self._thread.start()

    def cut(self) -> None:
        """Reset every connection, whatever is under way in it."""
        self._cut.set()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._reset_all()
        self._listening.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(_POLL_S):
                if key.fileobj is self._listening:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._pairs:
                    self._pass_on(key.fileobj)
            if self._cut.is_set():
                self._cut.clear()
                self.cuts += bool(self._pairs)
                self._reset_all()

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

    def _pass_on(self, source: socket.socket) -> None:
        try:
            data = source.recv(_CHUNK_BYTES)
            if data:
                self._pairs[source].sendall(data)
        except OSError:
            data = b""
        if not data:
            for one in (source, self._pairs[source]):
                self._forget(one)

    def _reset_all(self) -> None:
        for one in list(self._pairs):
            # A linger of zero makes the close a reset: what is still buffered is lost, as on a real link.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self._forget(one)

    def _forget(self, one: socket.socket) -> None:
        self._pairs.pop(one, None)
        with suppress(KeyError):
            self._selector.unregister(one)
        one.close()


@contextmanager
def proxy(broker: Broker) -> Iterator[Proxy]:
    """A running proxy in front of a broker."""
    running = Proxy(broker)
    running.start()
    try:
        yield running
    finally:
        running.stop()
