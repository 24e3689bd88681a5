"""The client over real brokers, against a device that answers by the contract."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from paho.mqtt.client import MQTTMessage

from drupelet_host.client import BrokerAddress, DeviceClient
from drupelet_host.demo.broker import free_port
from drupelet_host.errors import BrokerError, RemoteError, ReplyTimeoutError
from drupelet_shared.contract.messages import ModelState
from drupelet_shared.contract.wire import encode_error
from drupelet_shared.errors import ContentTypeError, InvalidValueError, OverloadedError, PayloadSizeError
from drupelet_shared.inference import Encoded, InferenceReply, InferenceRequest, encode_reply, encode_request
from drupelet_shared.tensors import Datatype, TensorSpec
from fakes.device import NAME, Answer, double, fake_device, read_request
from support.broker.brokers import Broker, mosquitto_broker

X = {"x": np.array([1, 2, 3], np.float32)}
PNG = b"\x89PNG\r\n\x1a\n...."


def client_of(broker: Broker, **settings: float) -> DeviceClient:
    return DeviceClient(NAME, broker=BrokerAddress(broker.host, broker.port), **settings)


def json_answer(text: bytes, *, code: str = "ok", delay_s: float = 0.0) -> Answer:
    return Answer(Encoded(text, "application/json", None), code=code, delay_s=delay_s)


def labelled_answer(*labels: bytes) -> Answer:
    outputs = {"labels": np.array(labels, dtype=object)}
    request = InferenceRequest(inputs={}, binary_output=True)
    return Answer(encode_reply(InferenceReply(model_name="m", outputs=outputs), request))


@pytest.mark.parametrize("binary", [True, False])
def test_tensors_go_out_and_come_back(broker: Broker, *, binary: bool) -> None:
    with fake_device(broker) as device, client_of(broker) as client:
        reply = client.infer("double", X, version="1.0", timeout_s=10, binary=binary)
    assert reply.outputs["x"].tolist() == [2, 4, 6]
    assert reply.outputs["x"].dtype == np.float32
    assert device.requests[0].topic == f"drupelet/v1/{NAME}/infer/double/1.0"


def test_a_request_carries_what_the_contract_asks_for(broker: Broker) -> None:
    with fake_device(broker) as device, client_of(broker) as client:
        client.infer("double", X, timeout_s=7.2)
    message = device.requests[0]
    assert message.qos == 1
    assert message.properties.MessageExpiryInterval == 8
    assert message.properties.ContentType == "application/octet-stream"
    assert message.properties.ResponseTopic.startswith("drupelet/v1/clients/")
    assert message.properties.CorrelationData


def test_only_the_outputs_asked_for_are_requested(broker: Broker) -> None:
    with fake_device(broker) as device, client_of(broker) as client:
        client.infer("double", X, outputs=["x"], timeout_s=10)
    outputs = read_request(device.requests[0]).outputs
    assert outputs is not None
    assert [output.name for output in outputs] == ["x"]


def test_an_image_is_sent_as_it_is(broker: Broker) -> None:
    with fake_device(broker, lambda _: labelled_answer(b"cat")) as device, client_of(broker) as client:
        client.infer_image("m", PNG, timeout_s=10)
    assert device.requests[0].payload == PNG
    assert device.requests[0].properties.ContentType == "image/png"


@pytest.mark.parametrize(
    ("sent", "received"), [([b"cat", "Käfer".encode()], ["cat", "Käfer"]), ([b"cat", b"\xff"], [b"cat", b"\xff"])]
)
def test_labels_are_text_unless_they_are_none(
    embedded: Broker, sent: list[bytes], received: list[str] | list[bytes]
) -> None:
    with fake_device(embedded, lambda _: labelled_answer(*sent)), client_of(embedded) as client:
        assert client.infer_image("m", PNG, timeout_s=10).outputs["labels"].tolist() == received


def test_a_file_that_is_no_image_is_not_sent(embedded: Broker) -> None:
    with client_of(embedded) as client, pytest.raises(ContentTypeError):
        client.infer_image("m", b"GIF89a")


def test_many_requests_are_in_flight_and_each_gets_its_own_reply(broker: Broker) -> None:
    def slow_first(message: MQTTMessage) -> Answer:
        answer = double(message)
        # The earlier the request, the later its reply.
        first = int(read_request(message).inputs["x"][0])
        return Answer(answer.encoded, delay_s=(20 - first) * 0.01)

    with fake_device(broker, slow_first), client_of(broker) as client:
        bodies = [
            encode_request(InferenceRequest(inputs={"x": np.array([n], np.int32)}, binary_output=True), binary=True)
            for n in range(20)
        ]
        futures = [client.submit("double", body, timeout_s=10) for body in bodies]
        assert [int(future.result().outputs["x"][0]) for future in futures] == [2 * n for n in range(20)]


def test_a_client_is_shared_by_threads(broker: Broker) -> None:
    with fake_device(broker), client_of(broker) as client, ThreadPoolExecutor(4) as pool:

        def ask(number: int) -> int:
            return int(client.infer("double", {"x": np.array([number])}, timeout_s=10).outputs["x"][0])

        assert list(pool.map(ask, range(40))) == [2 * number for number in range(40)]


def test_a_refusal_carries_the_devices_words_and_code(broker: Broker) -> None:
    body = encode_error(OverloadedError("queue of 64 is full"), request_id=None)
    with (
        fake_device(broker, lambda _: json_answer(body, code="overloaded")),
        client_of(broker) as client,
        pytest.raises(RemoteError, match="'pi-fake' answered overloaded: queue of 64 is full") as raised,
    ):
        client.infer("double", X, timeout_s=10)
    assert raised.value.device_code == "overloaded"


@pytest.mark.parametrize(("text", "code"), [(b"{", "ok"), (b'{"outputs": 5}', "ok"), (b"junk", "overloaded")])
def test_a_malformed_reply_is_an_error_and_the_client_lives_on(embedded: Broker, text: bytes, code: str) -> None:
    answers = iter([json_answer(text, code=code)])
    with (
        fake_device(embedded, lambda message: next(answers, None) or double(message)),
        client_of(embedded) as client,
    ):
        with pytest.raises(RemoteError, match=r"malformed reply|no text in 4 bytes"):
            client.infer("double", X, timeout_s=10)
        assert client.infer("double", X, timeout_s=10).outputs["x"].tolist() == [2, 4, 6]


def test_silence_ends_with_device_model_and_seconds(broker: Broker) -> None:
    with (
        fake_device(broker, lambda _: None),
        client_of(broker) as client,
        pytest.raises(ReplyTimeoutError, match=r"device 'pi-fake', model 'double': no answer within 0\.3 s"),
    ):
        client.infer("double", X, timeout_s=0.3)


def test_a_reply_after_the_deadline_is_dropped(broker: Broker) -> None:
    with (
        fake_device(broker, lambda message: Answer(double(message).encoded, delay_s=0.4)),
        client_of(broker) as client,
    ):
        with pytest.raises(ReplyTimeoutError):
            client.infer("double", X, timeout_s=0.2)
        time.sleep(0.4)
        assert client.infer("double", X, timeout_s=10).outputs["x"].tolist() == [2, 4, 6]


def test_closing_the_client_ends_what_is_in_flight(embedded: Broker) -> None:
    body = encode_request(InferenceRequest(inputs=X), binary=True)
    with fake_device(embedded, lambda _: None), client_of(embedded) as client:
        future = client.submit("double", body, timeout_s=60)
    with pytest.raises(RemoteError, match="the client was closed before the answer"):
        future.result(timeout=5)


def test_a_broken_connection_is_survived_by_the_request(mosquitto: Broker) -> None:
    with (
        fake_device(mosquitto, lambda message: Answer(double(message).encoded, delay_s=0.5)) as device,
        client_of(mosquitto) as client,
    ):
        body = encode_request(InferenceRequest(inputs=X, binary_output=True), binary=True)
        future = client.submit("double", body, timeout_s=20)
        while not device.requests:
            time.sleep(0.01)
        connected = client._transport._client.socket()
        assert connected is not None
        connected.shutdown(socket.SHUT_RDWR)
        assert future.result().outputs["x"].tolist() == [2, 4, 6]


@pytest.mark.mosquitto
@pytest.mark.usefixtures("mosquitto")
def test_a_broker_that_restarts_finds_the_client_subscribed_again(tmp_path: Path) -> None:
    port = free_port()
    with mosquitto_broker(tmp_path, port=port) as first:
        client = client_of(first)
        client.__enter__()
    try:
        with mosquitto_broker(tmp_path, port=port) as second, fake_device(second):
            assert client.infer("double", X, timeout_s=20).outputs["x"].tolist() == [2, 4, 6]
            client.__exit__(None, None, None)
    except BaseException:
        client.__exit__(None, None, None)
        raise


def test_no_broker_is_an_error_with_host_and_port() -> None:
    port = free_port()
    with pytest.raises(BrokerError, match=f"broker 127.0.0.1:{port}: .*refused"):
        DeviceClient(NAME, broker=BrokerAddress("127.0.0.1", port)).__enter__()


def test_a_server_that_is_no_broker_is_an_error_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = BrokerAddress("127.0.0.1", server.getsockname()[1])
        with pytest.raises(BrokerError, match=r"no answer within 0\.5 s"):
            DeviceClient(NAME, broker=address, connect_timeout_s=0.5).__enter__()


@pytest.mark.mosquitto
@pytest.mark.usefixtures("mosquitto")
def test_a_broker_that_wants_an_account_refuses_with_its_reason(tmp_path: Path) -> None:
    with (
        mosquitto_broker(tmp_path, settings=["allow_anonymous false"]) as closed,
        pytest.raises(BrokerError, match="Not authorized"),
    ):
        client_of(closed).__enter__()


@pytest.mark.mosquitto
@pytest.mark.usefixtures("mosquitto")
def test_a_request_larger_than_the_broker_takes_is_not_sent(tmp_path: Path) -> None:
    with (
        mosquitto_broker(tmp_path, settings=["max_packet_size 20000"]) as small,
        client_of(small) as client,
        pytest.raises(PayloadSizeError, match=r"request has \d+ bytes: broker .* takes packets of 20000"),
    ):
        client.infer("double", {"x": np.zeros(20_000, np.uint8)})


@pytest.mark.mosquitto
@pytest.mark.usefixtures("mosquitto")
def test_a_request_that_the_broker_refuses_for_its_size_fails_at_once_and_the_client_goes_on(tmp_path: Path) -> None:
    with (
        mosquitto_broker(tmp_path, settings=["message_size_limit 20000"]) as small,
        fake_device(small),
        client_of(small) as client,
    ):
        with pytest.raises(BrokerError, match=r"refuses the request of \d+ bytes: Packet too large"):
            client.infer("double", {"x": np.zeros(30_000, np.uint8)}, timeout_s=20)
        assert client.infer("double", X, timeout_s=20).outputs["x"].tolist() == [2, 4, 6]


def test_no_thread_outlives_the_client(embedded: Broker) -> None:
    before = set(threading.enumerate())
    with client_of(embedded):
        pass
    assert set(threading.enumerate()) <= before


def test_a_malformed_model_name_is_refused(embedded: Broker) -> None:
    with client_of(embedded) as client, pytest.raises(InvalidValueError, match="model name 'a/b'"):
        client.infer("a/b", X)


def test_the_retained_state_tells_what_a_model_takes(broker: Broker) -> None:
    spec = TensorSpec(name="image", datatype=Datatype.FP32, shape=(1, 3, -1, -1))
    state = ModelState(model="m", version="1", release=1, digest="0" * 64, health="ready", inputs=(spec,))
    with fake_device(broker) as device, client_of(broker) as client:
        device.announce(state)
        assert client.model_state("m", timeout_s=10) == state
        assert client.model_state("m", timeout_s=10) == state
        with pytest.raises(ReplyTimeoutError, match=r"model 'other': no state announced within 0\.2 s"):
            client.model_state("other", timeout_s=0.2)


def test_a_small_round_trip_does_not_wait_for_delayed_acknowledgements(broker: Broker) -> None:
    times_s = []
    with fake_device(broker), client_of(broker) as client:
        for _ in range(10):
            start = time.perf_counter()
            client.infer("double", X, timeout_s=10)
            times_s.append(time.perf_counter() - start)
    # Nagle's algorithm with delayed acknowledgements takes 40 ms and more.
    assert sorted(times_s)[5] < 0.03
