"""The inference client in an event loop: many requests at once, cancelling, and a loop that is never blocked."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from paho.mqtt.client import MQTTMessage

from drupelet_host.client import BrokerAddress, DeviceClient, PoolClient
from drupelet_host.demo.broker import free_port
from drupelet_host.errors import BrokerError, ReplyTimeoutError
from fakes.device import NAME, Answer, double, fake_device
from support.broker.brokers import Broker


def client_of(broker: Broker) -> DeviceClient:
    return DeviceClient(NAME, broker=BrokerAddress(broker.host, broker.port))


def one(number: int) -> dict[str, np.ndarray]:
    return {"x": np.array([number], np.int32)}


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def test_many_requests_are_awaited_at_once(broker: Broker) -> None:
    async def ask() -> list[int]:
        async with client_of(broker) as client:
            replies = await asyncio.gather(
                *(client.infer_async("double", one(number), timeout_s=10) for number in range(20))
            )
        return [int(reply.outputs["x"][0]) for reply in replies]

    with fake_device(broker):
        assert asyncio.run(ask()) == [2 * number for number in range(20)]


def test_the_loop_goes_on_while_a_request_waits(embedded: Broker) -> None:
    answered = threading.Event()

    def late(message: MQTTMessage) -> Answer:
        # Answers only once the loop has done something else.
        assert answered.wait(20)
        return double(message)

    async def ask() -> int:
        async with client_of(embedded) as client:
            asking = asyncio.create_task(client.infer_async("double", one(4), timeout_s=20))
            await asyncio.sleep(0)
            answered.set()
            return int((await asking).outputs["x"][0])

    with fake_device(embedded, late):
        assert asyncio.run(ask()) == 8


def test_a_request_that_is_cancelled_leaves_the_client_usable(embedded: Broker) -> None:
    async def ask() -> int:
        async with client_of(embedded) as client:
            asking = asyncio.create_task(client.infer_async("double", one(1), timeout_s=20))
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            return int((await client.infer_async("double", one(5), timeout_s=20)).outputs["x"][0])

    with fake_device(embedded):
        assert asyncio.run(ask()) == 10


def test_no_answer_is_the_same_error_as_without_a_loop(embedded: Broker) -> None:
    async def ask() -> None:
        async with PoolClient("door", broker=BrokerAddress(embedded.host, embedded.port)) as client:
            await client.infer_image_async("m", b"\x89PNG\r\n\x1a\n....", timeout_s=0.3)

    with pytest.raises(ReplyTimeoutError, match="pool 'door', model 'm'"):
        asyncio.run(ask())


def test_a_broker_that_is_not_there_is_an_error_and_leaves_no_thread() -> None:
    async def connect() -> None:
        async with DeviceClient(NAME, broker=BrokerAddress("127.0.0.1", free_port()), connect_timeout_s=2):
            pass

    with pytest.raises(BrokerError):
        asyncio.run(connect())
    assert threads_named("drupelet-deadlines") == []


def test_a_connect_that_is_cancelled_is_closed_again(embedded: Broker) -> None:
    async def connect() -> None:
        async with client_of(embedded):
            pass

    async def give_up() -> None:
        connecting = asyncio.create_task(connect())
        await asyncio.sleep(0)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting

    asyncio.run(give_up())
    assert threads_named("drupelet-deadlines") == []
