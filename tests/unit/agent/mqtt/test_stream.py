"""One socket on the event loop: bytes in, bytes out, back-pressure, ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from drupelet_agent.mqtt.errors import MalformedPacketError, PacketSizeError
from drupelet_agent.mqtt.link.dialling import OpenSocket
from drupelet_agent.mqtt.link.stream import Stream
from fakes.scripted_broker import packet, publish
from support.broker.mqtt_clients import eventually


class Ends:
    """A stream over a socket pair, the far socket, and what the stream reported."""

    def __init__(self, *, max_unsent_bytes: int = 2**30, gathers: bool = True) -> None:
        near, self.far = socket.socketpair()
        near.settimeout(0)
        self.far.settimeout(0)
        self.packets: list[tuple[int, bytes]] = []
        self.ends: list[Exception | str] = []
        self.raises: Exception | None = None
        self.stream = Stream(
            OpenSocket(near, gathers=gathers),
            max_packet_bytes=100_000,
            max_unsent_bytes=max_unsent_bytes,
            on_packet=self._take,
            on_end=self._end,
        )

    def _take(self, first: int, body: memoryview) -> None:
        self.packets.append((first, bytes(body)))
        if self.raises is not None:
            raise self.raises

    def _end(self, why: Exception | str) -> None:
        self.ends.append(why)
        self.stream.close()

    def receive(self) -> bytes:
        """Receive at the far end whatever is there."""
        data = bytearray()
        try:
            while part := self.far.recv(2**20):
                data += part
        except BlockingIOError:
            pass
        return bytes(data)


def run(scenario: Callable[[Ends], Awaitable[None]], *, max_unsent_bytes: int = 2**30, gathers: bool = True) -> None:
    async def main() -> None:
        ends = Ends(max_unsent_bytes=max_unsent_bytes, gathers=gathers)
        try:
            await scenario(ends)
        finally:
            ends.stream.close()
            ends.far.close()

    asyncio.run(main())


@pytest.mark.parametrize("gathers", [True, False])
def test_what_is_written_in_one_turn_leaves_together_in_its_order(gathers: bool) -> None:  # noqa: FBT001 - a parameter
    async def scenario(ends: Ends) -> None:
        for part in (b"a", b"", b"b", b"c"):
            ends.stream.write(part, part.upper())
        assert ends.receive() == b""
        await asyncio.sleep(0)
        assert ends.receive() == b"aAbBcC"
        assert (ends.stream.queued_offset, ends.stream.sent_offset, ends.stream.unsent_bytes) == (6, 6, 0)

    run(scenario, gathers=gathers)


def test_a_corked_stream_keeps_what_is_written_until_it_is_flushed() -> None:
    async def scenario(ends: Ends) -> None:
        ends.stream.cork()
        ends.stream.write(b"a")
        await asyncio.sleep(0.01)
        assert ends.receive() == b""
        ends.stream.flush()
        assert ends.receive() == b"a"
        ends.stream.write(b"b")
        await asyncio.sleep(0)
        assert ends.receive() == b"b"

    run(scenario)


@pytest.mark.parametrize("gathers", [True, False])
def test_what_the_socket_does_not_take_at_once_follows_byte_for_byte(gathers: bool) -> None:  # noqa: FBT001
    async def scenario(ends: Ends) -> None:
        parts = [bytes([number % 251]) * 50_000 for number in range(100)]
        for part in parts:
            ends.stream.write(part)
        received = bytearray()
        await asyncio.sleep(0)
        assert 0 < ends.stream.unsent_bytes < 5_000_000
        while ends.stream.unsent_bytes:
            received += ends.receive()
            await asyncio.sleep(0)
        received += ends.receive()
        assert received == b"".join(parts)

    run(scenario, gathers=gathers)


def test_draining_ends_when_everything_is_written_or_the_time_is_over() -> None:
    async def scenario(ends: Ends) -> None:
        ends.stream.write(bytes(5_000_000))
        await ends.stream.drain(timeout_s=0.03)
        assert ends.stream.unsent_bytes
        draining = asyncio.create_task(ends.stream.drain(timeout_s=5))
        while not draining.done():
            ends.receive()
            await asyncio.sleep(0)
        assert not ends.stream.unsent_bytes

    run(scenario)


def test_packets_in_one_read_are_handled_in_their_order() -> None:
    async def scenario(ends: Ends) -> None:
        ends.far.send(publish("a") + packet(0xD0, b"") + publish("b"))
        await eventually(lambda: len(ends.packets) == 3)
        assert [first for first, _ in ends.packets] == [0x30, 0xD0, 0x30]

    run(scenario)


def test_a_packet_behind_the_one_that_closed_the_stream_is_not_handled() -> None:
    async def scenario(ends: Ends) -> None:
        ends.raises = MalformedPacketError("no")
        ends.far.send(publish("a") + publish("b"))
        await eventually(lambda: ends.ends)
        assert (len(ends.packets), ends.ends) == (1, [ends.raises])

    run(scenario)


def test_an_unexpected_exception_of_a_handler_ends_the_stream() -> None:
    async def scenario(ends: Ends) -> None:
        ends.raises = KeyError("x")
        ends.far.send(publish("a"))
        await eventually(lambda: ends.ends)
        assert ends.ends == [ends.raises]

    run(scenario)


def test_a_packet_over_the_limit_ends_the_stream() -> None:
    async def scenario(ends: Ends) -> None:
        ends.far.send(b"\x30\xff\xff\xff\x7f")
        await eventually(lambda: ends.ends)
        assert isinstance(ends.ends[0], PacketSizeError)

    run(scenario)


def test_the_end_of_the_peer_ends_the_stream() -> None:
    async def scenario(ends: Ends) -> None:
        ends.far.close()
        await eventually(lambda: ends.ends)
        assert ends.ends == ["the broker closed it"]

    run(scenario)


def test_writing_to_a_peer_that_is_gone_ends_the_stream() -> None:
    async def scenario(ends: Ends) -> None:
        ends.far.close()
        ends.stream.write(b"a")
        ends.stream.flush()
        assert [type(end) for end in ends.ends] == [BrokenPipeError]

    run(scenario)


def test_nothing_is_read_above_the_high_mark_and_again_from_half_of_it_on() -> None:
    async def scenario(ends: Ends) -> None:
        ends.stream.write(bytes(1_500_000))
        assert ends.stream.is_reading is False
        ends.far.send(publish("a"))
        await asyncio.sleep(0.01)
        unsent_bytes = ends.stream.unsent_bytes
        assert unsent_bytes > 500_000
        assert ends.packets == []
        while not ends.stream.is_reading:
            unsent_bytes = ends.stream.unsent_bytes
            assert len(ends.far.recv(65_536))
            await asyncio.sleep(0)
        assert ends.stream.unsent_bytes <= 500_000 < unsent_bytes
        await eventually(lambda: ends.packets)

    run(scenario, max_unsent_bytes=1_000_000)


def test_the_times_of_the_last_progress_are_those_of_the_loop() -> None:
    async def scenario(ends: Ends) -> None:
        start_s = asyncio.get_running_loop().time()
        await asyncio.sleep(0.02)
        ends.stream.write(b"a")
        ends.stream.flush()
        assert ends.stream.written_s >= start_s + 0.02
        assert ends.stream.read_s <= start_s
        ends.far.send(publish("a"))
        await eventually(lambda: ends.packets)
        assert ends.stream.read_s >= start_s + 0.02

    run(scenario)


def test_a_closed_stream_writes_nothing() -> None:
    async def scenario(ends: Ends) -> None:
        ends.stream.close()
        ends.stream.write(b"a")
        await asyncio.sleep(0)
        assert ends.far.recv(10) == b""
        assert ends.ends == []

    run(scenario)
