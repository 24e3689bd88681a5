"""A broker on loopback that follows a script: it does what brokers may do, and what they must not.

It has a small MQTT 5 of its own, so that a client is not tested against the code that it shares with its broker.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
PINGREQ, PINGRESP, DISCONNECT, AUTH = 12, 13, 14, 15
# Small, so that a script that does not read blocks its client soon.
_RECEIVE_BUFFER_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet that the client sent.

    Attributes:
        kind: Its type.
        flags: The lower half of its first byte.
        body: What follows its length.
    """

    kind: int
    flags: int
    body: bytes

    @property
    def qos(self) -> int:
        """The QoS of a PUBLISH."""
        return self.flags >> 1 & 3

    @property
    def dup(self) -> bool:
        """The DUP flag of a PUBLISH."""
        return bool(self.flags & 8)

    @property
    def retain(self) -> bool:
        """The RETAIN flag of a PUBLISH."""
        return bool(self.flags & 1)

    @property
    def topic(self) -> str:
        """The topic of a PUBLISH."""
        return self.body[2 : 2 + struct.unpack_from("!H", self.body)[0]].decode()

    @property
    def packet_id(self) -> int:
        """The Packet Identifier of a PUBLISH of QoS 1, a PUBACK or a SUBSCRIBE."""
        offset = 2 + struct.unpack_from("!H", self.body)[0] if self.kind == PUBLISH else 0
        packet_id: int = struct.unpack_from("!H", self.body, offset)[0]
        return packet_id

    @property
    def filters(self) -> list[tuple[str, int]]:
        """The topic filters of a SUBSCRIBE without properties, each with its options."""
        offset, filters = 3, []
        while offset < len(self.body):
            end = offset + 2 + struct.unpack_from("!H", self.body, offset)[0]
            filters.append((self.body[offset + 2 : end].decode(), self.body[end]))
            offset = end + 1
        return filters


def packet(first: int, body: bytes) -> bytes:
    """Encode a packet from its first byte and what follows its length."""
    return bytes((first,)) + variable(len(body)) + body


def variable(number: int) -> bytes:
    """Encode a Variable Byte Integer."""
    encoded = bytearray()
    while True:
        number, byte = divmod(number, 128)
        encoded.append(byte | (128 if number else 0))
        if not number:
            return bytes(encoded)


def text(value: str) -> bytes:
    """Encode a UTF-8 Encoded String."""
    return struct.pack("!H", len(value.encode())) + value.encode()


def connack(reason: int = 0, properties: bytes = b"", *, session_present: bool = False) -> bytes:
    """Encode a CONNACK of MQTT 5."""
    return packet(CONNACK << 4, bytes((session_present, reason)) + variable(len(properties)) + properties)


def connack_311(return_code: int) -> bytes:
    """Encode a CONNACK of MQTT 3.1.1."""
    return packet(CONNACK << 4, bytes((0, return_code)))


def publish(topic: str, payload: bytes = b"", *, packet_id: int = 0, properties: bytes = b"", flags: int = 0) -> bytes:
    """Encode a PUBLISH; with a Packet Identifier it has QoS 1.

    Args:
        topic: The topic.
        payload: The payload.
        packet_id: The Packet Identifier; 0 for QoS 0.
        properties: Encoded properties.
        flags: Flags besides the QoS.
    """
    identifier = struct.pack("!H", packet_id) if packet_id else b""
    body = text(topic) + identifier + variable(len(properties)) + properties + payload
    return packet(PUBLISH << 4 | flags | (2 if packet_id else 0), body)


def puback(packet_id: int, reason: int = 0) -> bytes:
    """Encode a PUBACK."""
    return packet(PUBACK << 4, struct.pack("!H", packet_id) + (bytes((reason,)) if reason else b""))


def suback(packet_id: int, reasons: bytes) -> bytes:
    """Encode a SUBACK."""
    return packet(SUBACK << 4, struct.pack("!HB", packet_id, 0) + reasons)


def disconnect(reason: int, properties: bytes = b"") -> bytes:
    """Encode a DISCONNECT."""
    return packet(DISCONNECT << 4, bytes((reason,)) + (variable(len(properties)) + properties if properties else b""))


class Peer:
    """The broker's end of one connection.

    Attributes:
        received: The packets of the client, in order.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take over a connection.

        Args:
            reader: Its incoming side.
            writer: Its outgoing side.
        """
        self._reader = reader
        self._writer = writer
        self.received: list[Packet] = []

    async def receive(self) -> Packet:
        """Receive the next packet; raises EOFError when the client has closed the connection."""
        try:
            first = (await self._reader.readexactly(1))[0]
            length = shift = 0
            while True:
                byte = (await self._reader.readexactly(1))[0]
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            body = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise EOFError from error
        received = Packet(first >> 4, first & 15, body)
        self.received.append(received)
        return received

    async def expect(self, kind: int) -> Packet:
        """Receive packets until one of this type."""
        while (received := await self.receive()).kind != kind:
            pass
        return received

    async def send(self, data: bytes, *, split: bool = False) -> None:
        """Send bytes; `split` sends each as a segment of its own."""
        for part in [data[index : index + 1] for index in range(len(data))] if split else [data]:
            self._writer.write(part)
            await self._writer.drain()
            if split:
                # Lets the client read this byte before the next is there.
                await asyncio.sleep(0)

    async def accept(self, properties: bytes = b"", *, session_present: bool = False) -> Packet:
        """Receive the CONNECT, accept it, and return it."""
        connect = await self.expect(CONNECT)
        await self.send(connack(0, properties, session_present=session_present))
        return connect

    async def serve(
        self, *, split: bool = False, puback_reason: int = 0, on_publish: Callable[[Packet], bytes | None] | None = None
    ) -> None:
        """Answer the client until it closes the connection.

        Args:
            split: Whether each byte is a segment of its own.
            puback_reason: The reason code of each PUBACK.
            on_publish: Returns what to send for a PUBLISH in place of the PUBACK; None sends the PUBACK.
        """
        while True:
            try:
                received = await self.receive()
            except EOFError:
                return
            answer: bytes | None = None
            if received.kind == PUBLISH:
                answer = on_publish(received) if on_publish is not None else None
                if answer is None and received.qos:
                    answer = puback(received.packet_id, puback_reason)
            elif received.kind == SUBSCRIBE:
                answer = suback(received.packet_id, bytes([1] * len(received.filters)))
            elif received.kind == PINGREQ:
                answer = packet(PINGRESP << 4, b"")
            if answer:
                try:
                    await self.send(answer, split=split)
                except ConnectionError:
                    return
                if answer[0] >> 4 == DISCONNECT:
                    return

    async def closed(self) -> None:
        """Receive until the client closes the connection."""
        with suppress(EOFError):
            while True:
                await self.receive()

    def reset(self) -> None:
        """Reset the connection; what is still buffered is lost."""
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self._writer.transport.abort()

    def close(self) -> None:
        """Close the connection when everything is sent."""
        self._writer.close()


Script = Callable[[Peer], Awaitable[None]]


class ScriptedBroker:
    """Listens on loopback; the n-th connection follows the n-th script, and the last script goes for all that follow.

    A connection is closed when its script ends. What a script raises, the end of the `async with` block raises.

    Attributes:
        peers: The connections, in order.
        port: The TCP port.
    """

    def __init__(self, *scripts: Script) -> None:
        """Prepare a broker.

        Args:
            scripts: What each connection does.
        """
        self._scripts = scripts
        self._tasks: set[asyncio.Task[None]] = set()
        self._faults: list[BaseException] = []
        self._listening: socket.socket | None = None
        # Those of connections whose task was cancelled before it had a transport are closed by nothing else.
        self._accepted: list[socket.socket] = []
        self.peers: list[Peer] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        listening = socket.create_server((LOOPBACK, 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        self.port = listening.getsockname()[1]
        listening.settimeout(0)
        self._listening = listening
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._listening is not None
        asyncio.get_running_loop().remove_reader(self._listening)
        self._listening.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.abort()
        # The transports close in the turn that follows.
        await asyncio.sleep(0)
        for accepted in self._accepted:
            accepted.close()
        if self._faults and error is None:
            raise self._faults[0]

    def _accept(self, listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        script = self._scripts[min(len(self._accepted), len(self._scripts) - 1)]
        self._accepted.append(accepted)
        task = asyncio.get_running_loop().create_task(self._follow(script, accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, script: Script, accepted: socket.socket) -> None:
        peer = Peer(*await asyncio.open_connection(sock=accepted))
        self.peers.append(peer)
        try:
            await script(peer)
        except (EOFError, ConnectionError):
            pass
        except Exception as error:  # noqa: BLE001 - raised again where the broker ends
            self._faults.append(error)
        finally:
            peer.close()


@contextmanager
def scripted_broker(*scripts: Script) -> Iterator[ScriptedBroker]:
    """Run a scripted broker on a thread of its own, for clients that are processes or block.

    Args:
        scripts: What each connection does.
    """
    broker = ScriptedBroker(*scripts)
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with broker:
            started.set()
            await stop.wait()

    faults: list[BaseException] = []

    def work() -> None:
        try:
            loop.run_until_complete(run())
        except Exception as error:  # noqa: BLE001 - raised again below
            faults.append(error)
        finally:
            loop.close()
            started.set()

    thread = threading.Thread(target=work, name="scripted-broker")
    thread.start()
    try:
        started.wait()
        yield broker
    finally:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(stop.set)
        thread.join()
    if faults:
        raise faults[0]
