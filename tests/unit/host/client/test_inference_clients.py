"""The clients of devices and of pools, over the broker in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import numpy as np
import pytest

from drupelet_host.client import DeviceClient, PoolClient
from drupelet_host.client.connection.transport import MessageProperties, ReceivedMessage
from drupelet_host.errors import BrokerError, DeviceOfflineError, RemoteError, ReplyTimeoutError
from drupelet_shared.contract.messages import ErrorReply
from drupelet_shared.contract.wire import CODE_PROPERTY, HEADER_LENGTH_PROPERTY
from drupelet_shared.errors import InvalidValueError, PayloadSizeError
from drupelet_shared.inference import Encoded, InferenceReply, InferenceRequest, encode_reply
from fakes.mqtt import ADDRESS, FakeBroker
from support.agent.fleets import Announced, birth, model_state

X = {"x": np.array([1, 2], np.float32)}
DEVICE = "drupelet/v1/pi-7/infer/+"
POOL = "drupelet/v1/pool/door/infer/+"
Answer = Callable[[int], str | None]
"""Gives the code of the answer to the n-th request; None stays silent."""


def serve(broker: FakeBroker, topic: str, answer: Answer = lambda _: "ok") -> list[MessageProperties]:
    """Answer requests on a topic; returns the properties of all requests."""
    requests: list[MessageProperties] = []
    reply = encode_reply(InferenceReply(model_name="m", outputs=X), InferenceRequest(inputs={}, binary_output=True))

    def take(_: ReceivedMessage, properties: MessageProperties) -> None:
        requests.append(properties)
        code = answer(len(requests))
        if code is None:
            return
        assert properties.response_topic is not None
        user = [(CODE_PROPERTY, code)]
        if code == "ok" and reply.header_length is not None:
            user.append((HEADER_LENGTH_PROPERTY, str(reply.header_length)))
        payload = reply.payload if code == "ok" else ErrorReply(error="refused", code=code).to_bytes()
        broker.publish(
            properties.response_topic,
            bytes(payload),
            MessageProperties(
                correlation_data=properties.correlation_data,
                content_type=reply.content_type if code == "ok" else "application/json",
                user_properties=tuple(user),
            ),
        )

    broker.serve(topic, take)
    return requests


def device_client(broker: FakeBroker) -> DeviceClient:
    return DeviceClient("pi-7", broker=ADDRESS, transport_factory=broker.connect)


def pool_client(broker: FakeBroker, *, retry_after_s: float = 0.1) -> PoolClient:
    return PoolClient("door", broker=ADDRESS, transport_factory=broker.connect, retry_after_s=retry_after_s)


def announce(broker: FakeBroker, *messages: Announced) -> None:
    for message in messages:
        broker.publish(message.topic, message.payload, retain=True)


def test_a_request_is_answered_and_carries_what_the_contract_asks_for() -> None:
    broker = FakeBroker()
    requests = serve(broker, DEVICE)
    with device_client(broker) as client:
        assert client.infer("m", X, timeout_s=7.2).outputs["x"].tolist() == [1, 2]
    (request,) = requests
    assert request.expiry_s == 8
    assert request.content_type == "application/octet-stream"
    assert request.response_topic == "drupelet/v1/clients/fake-1/reply"
    assert not request.is_text


def test_correlation_data_is_random() -> None:
    broker = FakeBroker()
    requests = serve(broker, DEVICE)
    with device_client(broker) as client:
        for _ in range(20):
            client.infer("m", X, timeout_s=5)
    correlations = [request.correlation_data or b"" for request in requests]
    assert {len(correlation) for correlation in correlations} == {16}
    assert len({correlation[:4] for correlation in correlations}) == 20


def test_a_reply_without_the_requests_correlation_data_answers_nothing() -> None:
    broker = FakeBroker()
    requests = serve(broker, DEVICE, lambda _: None)
    with device_client(broker) as client:
        with pytest.raises(ReplyTimeoutError):
            client.infer("m", X, timeout_s=0.1)
        topic = requests[0].response_topic
        assert topic is not None
        for forged in (None, b"", bytes(16), (1).to_bytes(8, "big")):
            broker.publish(topic, b"{}", MessageProperties(correlation_data=forged))
        with pytest.raises(ReplyTimeoutError):
            client.infer("m", X, timeout_s=0.1)


@pytest.mark.parametrize("make", [device_client, pool_client])
def test_silence_ends_with_target_model_and_seconds(make: Callable[[FakeBroker], DeviceClient | PoolClient]) -> None:
    with (
        make(FakeBroker()) as client,
        pytest.raises(ReplyTimeoutError, match=r"(device 'pi-7'|pool 'door'), model 'm': no answer within 0\.1 s"),
    ):
        client.infer("m", X, timeout_s=0.1)


def test_a_devices_client_never_sends_a_request_twice() -> None:
    broker = FakeBroker()
    requests = serve(broker, DEVICE, lambda _: None)
    with device_client(broker) as client, pytest.raises(ReplyTimeoutError):
        client.infer("m", X, timeout_s=0.4)
    assert len(requests) == 1


def test_a_pools_client_sends_again_what_no_member_has_answered() -> None:
    broker = FakeBroker()
    requests = serve(broker, POOL, lambda number: "ok" if number == 3 else None)
    with pool_client(broker) as client:
        assert client.infer("m", X, timeout_s=10).outputs["x"].tolist() == [1, 2]
    assert len(requests) == 3
    assert len({request.correlation_data for request in requests}) == 1


def test_a_pools_client_waits_on_after_a_full_queue_and_ends_at_other_refusals() -> None:
    broker = FakeBroker()
    codes = {1: "overloaded", 2: "ok", 3: "unknown_model"}
    requests = serve(broker, POOL, codes.get)
    with pool_client(broker) as client:
        client.infer("m", X, timeout_s=10)
        with pytest.raises(RemoteError, match="pool 'door' answered unknown_model: refused"):
            client.infer("m", X, timeout_s=10)
    assert len(requests) == 3


def test_a_devices_client_ends_at_a_full_queue() -> None:
    broker = FakeBroker()
    serve(broker, DEVICE, lambda _: "overloaded")
    with device_client(broker) as client, pytest.raises(RemoteError) as caught:
        client.infer("m", X, timeout_s=10)
    assert caught.value.device_code == "overloaded"


def test_a_request_that_cannot_be_sent_leaves_nothing_pending() -> None:
    broker = FakeBroker()
    broker.max_payload_bytes = 10
    with device_client(broker) as client:
        with pytest.raises(PayloadSizeError):
            client.infer("m", X)
        with pytest.raises(InvalidValueError):
            client.infer("a/b", X)
        assert client._pending._pending == {}


def test_a_request_that_the_broker_refuses_fails_at_once() -> None:
    broker = FakeBroker()
    broker.refused = lambda _: "Quota exceeded"
    with (
        device_client(broker) as client,
        pytest.raises(BrokerError, match=r"device 'pi-7', model 'm': .* of \d+ bytes: Quota exceeded"),
    ):
        client.infer("m", X, timeout_s=60)


def test_a_client_that_cannot_connect_leaves_no_thread() -> None:
    broker = FakeBroker()
    broker.refusal = "Not authorized"
    before = threading.active_count()
    with pytest.raises(BrokerError, match="Not authorized"):
        device_client(broker).__enter__()
    assert threading.active_count() == before


def test_an_online_device_passes_the_check_at_once_and_others_fail_it_with_the_reason() -> None:
    broker = FakeBroker()
    announce(broker, birth("pi-7"), birth("pi-9", state="offline"))
    with device_client(broker) as client:
        client.check_online(timeout_s=60)
    for name, reason in (("pi-8", "did you mean 'pi-"), ("pi-9", "says that it is offline")):
        with (
            DeviceClient(name, broker=ADDRESS, transport_factory=broker.connect) as client,
            pytest.raises(DeviceOfflineError, match=reason),
        ):
            client.check_online(timeout_s=60)


def test_a_check_ends_in_time_on_a_broker_without_devices() -> None:
    with device_client(FakeBroker()) as client, pytest.raises(DeviceOfflineError, match="no device has announced"):
        client.check_online(timeout_s=60)


def test_the_retained_state_of_a_model_is_read_again_each_time() -> None:
    broker = FakeBroker()
    with device_client(broker) as client:
        for health in ("starting", "ready"):
            announce(broker, model_state("pi-7", health=health))
            assert client.model_state("digits").health == health
        with pytest.raises(ReplyTimeoutError, match=r"model 'other': no state announced within 0\.1 s"):
            client.model_state("other", timeout_s=0.1)
        announce(broker, Announced("drupelet/v1/pi-7/models/broken/state", b"{}"))
        with pytest.raises(RemoteError, match="malformed state"):
            client.model_state("broken")
        assert broker.transports[-1].topics == {"drupelet/v1/clients/fake-1/reply"}


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), float("inf"), 1e12])
def test_a_time_that_no_timer_takes_is_refused_and_the_next_request_is_answered(timeout_s: float) -> None:
    broker = FakeBroker()
    serve(broker, DEVICE)
    with device_client(broker) as client:
        with pytest.raises(InvalidValueError, match="timeout_s"):
            client.infer("m", X, timeout_s=timeout_s)
        assert client.infer("m", X, timeout_s=5).model_name == "m"


def test_a_client_that_is_closed_says_so_at_once() -> None:
    broker = FakeBroker()
    with device_client(broker) as client:
        pass
    with pytest.raises(RemoteError, match="was closed before the answer: make a new one"):
        client.infer("m", X, timeout_s=5)


# The child runs a few lines of Python and no thread.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_client_says_in_a_forked_process_that_it_does_not_work_there_and_works_on_in_the_other() -> None:
    broker = FakeBroker()
    serve(broker, DEVICE)
    with device_client(broker) as client:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                client.submit("m", Encoded(payload=b"{}", content_type="application/json", header_length=None))
            except RemoteError as error:
                os.write(writing, str(error).encode())
            client.__exit__(None, None, None)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            assert "make a client in each process" in answer.read()
        assert os.waitpid(child, 0)[1] == 0
        assert client.infer("m", X, timeout_s=5).model_name == "m"
