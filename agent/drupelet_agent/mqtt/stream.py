"""One open socket on the event loop: packets in, bytes out."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from itertools import islice

from drupelet_agent.mqtt.dialling import Opened
from drupelet_agent.mqtt.errors import MalformedPacketError
from drupelet_agent.mqtt.framing import Framer

# Buffers for one call; Linux takes 1024.
_BUFFERS_AT_ONCE = 64
_DRAIN_POLL_S = 0.01


class Stream:
    """Reads as bytes come; what is written goes out together at the end of a turn of the loop."""

    def __init__(
        self,
        opened: Opened,
        *,
        max_packet_bytes: int,
        on_packet: Callable[[int, memoryview], None],
        on_end: Callable[[Exception | str], None],
    ) -> None:
        """Take over a socket.

        Args:
            opened: The socket.
            max_packet_bytes: The largest packet that is read.
            on_packet: Takes the first byte of a packet and what follows its length; not called once it is closed.
            on_end: Told why there is nothing more to read or write; it closes the stream.
        """
        self._opened = opened
        self._socket = opened.socket
        self._framer = Framer(max_packet_bytes=max_packet_bytes)
        self._on_packet = on_packet
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._out: deque[bytes | memoryview] = deque()
        self._flush_due = False
        self._held = False
        self._open = True
        self.read_s = self.written_s = time.monotonic()
        self._loop.add_reader(self._socket, self._read)

    def hold(self) -> None:
        """Until the next `flush` only queue what is written."""
        self._held = True

    def write(self, *parts: bytes) -> None:
        """Send; what the socket does not take at once follows when it can."""
        self._out.extend(filter(None, parts))
        if not (self._flush_due or self._held):
            self._flush_due = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what is queued, as far as the socket takes it now."""
        self._flush_due = self._held = False
        try:
            while self._open and self._out:
                self._sent(self._send())
        except self._opened.would_block:
            self._flush_due = True
            self._loop.add_writer(self._socket, self._writable)
        except OSError as error:
            self._on_end(error)

    async def drain(self, *, timeout_s: float) -> None:
        """Wait until everything is written, for at most this long."""
        deadline_s = time.monotonic() + timeout_s
        # Only at the end of a session, so not worth an event of its own.
        while self._open and self._out and time.monotonic() < deadline_s:  # noqa: ASYNC110 - see above
            await asyncio.sleep(_DRAIN_POLL_S)

    def close(self) -> None:
        """Read and write no more."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._out.clear()

    def _read(self) -> None:
        try:
            self._receive()
            while self._open and self._opened.pending():
                self._receive()
        except self._opened.would_block:
            return
        except (OSError, MalformedPacketError) as error:
            self._on_end(error)

    def _receive(self) -> None:
        data = self._socket.recv(self._framer.read_bytes)
        if not data:
            self._on_end("the broker closed it")
            return
        self.read_s = time.monotonic()
        for first, body in self._framer.feed(data):
            if not self._open:
                return
            self._on_packet(first, body)

    def _writable(self) -> None:
        self._loop.remove_writer(self._socket)
        self.flush()

    def _send(self) -> int:
        if self._opened.gathers:
            return self._socket.sendmsg(islice(self._out, _BUFFERS_AT_ONCE))
        if len(self._out) > 1:
            # TLS copies whatever it is given, and makes a record of each call.
            together = b"".join(self._out)
            self._out.clear()
            self._out.append(together)
        return self._socket.send(self._out[0])

    def _sent(self, count: int) -> None:
        self.written_s = time.monotonic()
        while count:
            first = self._out.popleft()
            if len(first) > count:
                self._out.appendleft(memoryview(first)[count:])
                return
            count -= len(first)
