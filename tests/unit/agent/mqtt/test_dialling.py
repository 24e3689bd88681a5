"""Opening sockets: slow names, dead addresses, abandoned attempts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from drupelet_agent.mqtt.connection import BrokerConnection
from drupelet_agent.mqtt.errors import ConnectFailedError
from drupelet_agent.mqtt.link.dialling import Dialler, OpenSocket
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_agent.mqtt.status import ConnectionProblem
from support.broker.mqtt_clients import eventually

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        yield server


def address(port: int) -> Address:
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))


class SlowResolver:
    """Answers when told to, and counts how often it is asked."""

    def __init__(self, port: int) -> None:
        self.asked = 0
        self.release = threading.Event()
        self._port = port

    def __call__(self, _host: str, _port: int, /) -> Sequence[Address]:
        self.asked += 1
        self.release.wait(20)
        return [address(self._port)]


def test_an_open_socket_does_not_block_and_sends_small_packets_at_once(listening: socket.socket) -> None:
    opened = asyncio.run(Dialler("127.0.0.1", listening.getsockname()[1], tls=None).dial())
    with opened.socket:
        assert opened.socket.gettimeout() == 0
        assert opened.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_next_address_is_tried_when_one_refuses(listening: socket.socket) -> None:
    def resolve(_: str, port: int) -> Sequence[Address]:
        return [address(1), address(port)]

    opened = asyncio.run(Dialler("broker", listening.getsockname()[1], tls=None, resolve=resolve).dial())
    opened.socket.close()


def test_a_name_without_addresses_is_an_error() -> None:
    with pytest.raises(OSError, match="broker has no address"):
        asyncio.run(Dialler("broker", 1, tls=None, resolve=lambda _, __: []).dial())


def test_an_error_of_one_attempt_is_not_that_of_the_next(listening: socket.socket) -> None:
    answers: list[Sequence[Address] | Exception] = [UnicodeError("no name"), [address(listening.getsockname()[1])]]

    def resolve(_: str, __: int) -> Sequence[Address]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def main() -> None:
        dialler = Dialler("broker", 1, tls=None, resolve=resolve)
        with pytest.raises(UnicodeError):
            await dialler.dial()
        (await dialler.dial()).socket.close()

    asyncio.run(main())


def test_a_name_that_is_resolved_slowly_takes_one_thread_and_its_addresses_are_used(
    listening: socket.socket,
) -> None:
    resolver = SlowResolver(listening.getsockname()[1])

    async def main() -> None:
        dialler = Dialler("broker", 1, tls=None, resolve=resolver, resolve_timeout_s=0.05)
        for _ in range(3):
            with pytest.raises(TimeoutError, match="broker is not resolved"):
                await dialler.dial()
        assert resolver.asked == 1
        resolver.release.set()
        (await _dial_until_resolved(dialler)).socket.close()
        assert resolver.asked == 1

    asyncio.run(main())


async def _dial_until_resolved(dialler: Dialler) -> OpenSocket:
    """Dial again until the resolver has answered; on a busy machine that takes longer than the limit."""
    while True:
        with contextlib.suppress(TimeoutError):
            return await dialler.dial()


def test_a_slow_resolver_does_not_hold_up_the_end_of_the_loop() -> None:
    resolver = SlowResolver(1)

    async def main() -> None:
        task = asyncio.create_task(Dialler("broker", 1, tls=None, resolve=resolver).dial())
        await eventually(lambda: resolver.asked)
        task.cancel()

    start_s = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - start_s < 5
    resolver.release.set()


def test_the_socket_of_an_attempt_that_is_abandoned_is_closed(listening: socket.socket) -> None:
    async def main() -> socket.socket:
        task = asyncio.create_task(Dialler("127.0.0.1", listening.getsockname()[1], tls=None).dial())
        accepted, _ = await asyncio.to_thread(listening.accept)
        if not task.cancel():
            task.result().socket.close()
        return accepted

    with asyncio.run(main()) as accepted:
        accepted.settimeout(5)
        assert accepted.recv(1) == b""


@pytest.mark.parametrize(
    "error", [OSError("no route"), UnicodeError("no name"), RuntimeError("can't start new thread")]
)
def test_whatever_keeps_a_socket_from_being_opened_is_a_failed_attempt(error: Exception) -> None:
    def resolve(_host: str, _port: int) -> Sequence[Address]:
        raise error

    connection = BrokerConnection(
        ConnectionOptions(host="broker", port=1, client_id="device"),
        on_connected=ignore,
        on_message=print,
        dialler=Dialler("broker", 1, tls=None, resolve=resolve),
    )
    with pytest.raises(ConnectFailedError, match=str(error)) as raised:
        asyncio.run(connection.connect())
    assert raised.value.problem is ConnectionProblem.UNREACHABLE


def ignore(*, session_present: bool) -> None:
    """Nothing is connected here."""


def test_a_connection_whose_name_is_resolved_slowly_is_not_stalled() -> None:
    now_s = 0.0
    resolver = SlowResolver(1)
    connection = BrokerConnection(
        ConnectionOptions(host="broker", port=1, client_id="device"),
        on_connected=ignore,
        on_message=lambda _: None,
        dialler=Dialler("broker", 1, tls=None, resolve=resolver),
        clock=lambda: now_s,
    )

    async def main() -> None:
        nonlocal now_s
        task = asyncio.create_task(connection.run())
        await eventually(lambda: resolver.asked)
        # Less than the timeouts of resolving, connecting and the CONNACK together.
        now_s = 40.0
        assert not connection.stalled
        now_s = 50.0
        assert connection.stalled
        task.cancel()

    asyncio.run(main())
    resolver.release.set()
