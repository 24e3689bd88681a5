"""One open socket on the event loop: packets in, bytes out."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from itertools import islice

from drupelet_agent.mqtt.codec.framing import Framer
from drupelet_agent.mqtt.errors import ProtocolError
from drupelet_agent.mqtt.link.dialling import OpenSocket

log = logging.getLogger(__name__)

# Buffers for one call; Linux takes 1024.
_BUFFERS_AT_ONCE = 64
_DRAIN_POLL_S = 0.01
# Linux alone has it.
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class Stream:
    """Reads as bytes come; what is written in one turn of the event loop leaves together at its end.

    While more than `max_unsent_bytes` wait for the socket it does not read, so that a peer that does not read is not
    asked to send; it reads again when half of that is left.

    Attributes:
        read_s: When bytes were last read, by the event loop's clock.
        written_s: When the socket last took bytes, by the event loop's clock.
        queued_offset: How many bytes were written to the stream since it was opened.
        sent_offset: How many of them the socket has taken.
    """

    def __init__(
        self,
        opened: OpenSocket,
        *,
        max_packet_bytes: int,
        max_unsent_bytes: int,
        on_packet: Callable[[int, memoryview], None],
        on_end: Callable[[Exception | str], None],
    ) -> None:
        """Take over a socket.

        Args:
            opened: The socket.
            max_packet_bytes: The largest packet that is read.
            max_unsent_bytes: Bytes that wait for the socket above which nothing is read.
            on_packet: Takes the first byte of a packet and what follows its length; not called after `close`.
            on_end: Takes the reason why the stream cannot go on; it must close the stream.
        """
        self._opened = opened
        self._socket = opened.socket
        self._framer = Framer(max_packet_bytes=max_packet_bytes)
        self._max_unsent_bytes = max_unsent_bytes
        self._on_packet = on_packet
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._out: deque[bytes | memoryview] = deque()
        self._flush_due = False
        self._corked = False
        self._open = True
        self._reading = True
        self.queued_offset = self.sent_offset = 0
        self.read_s = self.written_s = self._loop.time()
        self._loop.add_reader(self._socket, self._read)

    @property
    def unsent_bytes(self) -> int:
        """How many bytes wait for the socket."""
        return self.queued_offset - self.sent_offset

    @property
    def is_reading(self) -> bool:
        """Whether it reads what comes, or waits until the peer has read."""
        return self._reading

    def cork(self) -> None:
        """Queue what is written until the next `flush`."""
        self._corked = True

    def write(self, *parts: bytes) -> None:
        """Send; what the socket does not take at once follows when it can."""
        for part in parts:
            if part:
                self._out.append(part)
                self.queued_offset += len(part)
        if not (self._flush_due or self._corked):
            self._flush_due = True
            self._loop.call_soon(self.flush)
        if self._reading and self.unsent_bytes > self._max_unsent_bytes:
            self._reading = False
            self._loop.remove_reader(self._socket)

    def flush(self) -> None:
        """Write what is queued, as far as the socket takes it now."""
        self._flush_due = self._corked = False
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
        deadline_s = self._loop.time() + timeout_s
        # Only at the end of a session, so not worth an event of its own.
        while self._open and self._out and self._loop.time() < deadline_s:  # noqa: ASYNC110 - see above
            await asyncio.sleep(_DRAIN_POLL_S)

    def close(self) -> None:
        """Stop reading and writing, and close the socket."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._out.clear()

    def _read(self) -> None:
        try:
            self._receive()
            while self._open and self._reading and self._opened.pending():
                self._receive()
        except self._opened.would_block:
            return
        except (OSError, ProtocolError) as error:
            self._on_end(error)
        except Exception as error:
            # Half a packet's effects must not outlive it: the next connection starts from a known state.
            log.exception("a packet was not handled")
            self._on_end(error)

    def _receive(self) -> None:
        data = self._socket.recv(self._framer.read_bytes)
        if not data:
            self._on_end("the broker closed it")
            return
        if self._opened.quick_acknowledgements and _QUICKACK is not None:
            # The kernel forgets the option; without it a broker that has Nagle's algorithm on waits for some 40 ms.
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        self.read_s = self._loop.time()
        for first, body in self._framer.feed(data):
            if not self._open:
                return
            self._on_packet(first, body)

    def _resume(self) -> None:
        if self._open and self._reading:
            # TLS may hold bytes that no longer make the descriptor readable.
            self._read()

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
        self.written_s = self._loop.time()
        self.sent_offset += count
        while count:
            first = self._out.popleft()
            if len(first) > count:
                self._out.appendleft(memoryview(first)[count:])
                break
            count -= len(first)
        if not self._reading and self.unsent_bytes <= self._max_unsent_bytes // 2:
            self._reading = True
            self._loop.add_reader(self._socket, self._read)
            self._loop.call_soon(self._resume)
