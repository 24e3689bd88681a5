"""Inference over MQTT against the real agent and each broker: what is asked, what is answered, what is refused."""

from __future__ import annotations

import io
import json
import queue
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTProtocolVersion
from PIL import Image

from drupelet_shared.contract.messages import DeviceStatus, DeviceTelemetry, ModelState, ModelTelemetry
from drupelet_shared.contract.topics import DeviceTopics
from support.agent.agents import (
    DEVICE,
    Listener,
    RunningAgent,
    listener,
    run_agent_command,
    running_agent,
    write_config,
)
from support.agent.asking import Asker, asker
from support.broker.brokers import Broker
from support.broker.subscriber import subscriber
from support.package.served_packages import LABELS, linear_weights, make_keys, make_package

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
TENSOR = (PIXELS / np.float32(255)).astype(np.float32).reshape(1, 1, 8, 8)
SCORES = TENSOR.reshape(1, 64) @ linear_weights()
TOPICS = DeviceTopics(DEVICE)
MAX_PAYLOAD = 100_000


@dataclass(frozen=True)
class Served:
    """A running agent that serves the linear model."""

    broker: Broker
    agent: RunningAgent
    heard: Listener


@pytest.fixture(scope="module", params=["embedded", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    broker: Broker = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp("agent")
    config = write_config(folder, broker, extra=f"limits.max_payload = {MAX_PAYLOAD}")
    keys = make_keys(folder)
    keys.public.rename(folder / "trust/maker.pub")
    run_agent_command(config, "install", str(make_package(folder, keys)))
    with listener(broker) as heard, running_agent(config) as agent:
        heard.wait_for(TOPICS.model_state("digits"), health="ready")
        yield Served(broker=broker, agent=agent, heard=heard)


@pytest.fixture
def ask(served: Served) -> Iterator[Asker]:
    with asker(served.broker) as found:
        yield found


def json_request(**changes: object) -> bytes:
    tensor = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": TENSOR.ravel().tolist()}
    return json.dumps({"id": "r1", "inputs": [{**tensor, **changes}]}).encode()


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG")
    return buffer.getvalue()


class TestAnswers:
    def test_a_json_request_gets_its_tensors_back_as_json(self, ask: Asker) -> None:
        reply = ask.ask(TOPICS.infer("digits"), json_request())
        assert reply.content_type == "application/json"
        assert reply.user_properties["code"] == "ok"
        assert reply.json["id"] == "r1"
        assert reply.json["model_name"] == "digits"
        (output,) = reply.json["outputs"]
        assert output["shape"] == [1, 10]
        np.testing.assert_allclose(output["data"], SCORES.ravel(), rtol=1e-4)

    def test_binary_tensors_come_back_binary_when_asked_for(self, ask: Asker) -> None:
        tensor = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "parameters": {"binary_data_size": 256}}
        header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        reply = ask.ask(
            TOPICS.infer("digits"),
            header + TENSOR.tobytes(),
            content_type="application/octet-stream",
            user_properties=[("Inference-Header-Content-Length", str(len(header)))],
        )
        assert reply.content_type == "application/octet-stream"
        length = int(reply.user_properties["Inference-Header-Content-Length"])
        np.testing.assert_allclose(np.frombuffer(reply.payload[length:], "<f4"), SCORES.ravel(), rtol=1e-4)

    def test_a_png_is_answered_with_the_labelled_top_k(self, ask: Asker) -> None:
        reply = ask.ask(TOPICS.infer("digits"), png(), content_type="image/png")
        outputs = {output["name"]: output["data"] for output in reply.json["outputs"]}
        best = np.argsort(-SCORES[0])[:3]
        assert outputs["indices"] == best.tolist()
        assert outputs["labels"] == [LABELS[index] for index in best]
        assert outputs["scores"] == sorted(outputs["scores"], reverse=True)

    def test_a_jpeg_is_decoded_too(self, ask: Asker) -> None:
        buffer = io.BytesIO()
        Image.fromarray(PIXELS).save(buffer, "JPEG")
        reply = ask.ask(TOPICS.infer("digits"), buffer.getvalue(), content_type="image/jpeg")
        assert reply.user_properties["code"] == "ok"

    def test_the_active_version_can_be_named(self, ask: Asker) -> None:
        assert ask.ask(TOPICS.infer("digits", "1.0.0"), json_request()).json["model_version"] == "1.0.0"

    def test_a_request_without_response_topic_is_answered_on_the_result_topic(self, served: Served) -> None:
        served.heard.client.publish(TOPICS.infer("digits"), json_request().replace(b"r1", b"r2"), qos=1)
        assert served.heard.wait_for(TOPICS.result("digits"), id="r2")["model_name"] == "digits"

    def test_an_mqtt_3_client_is_answered_by_its_id_and_may_send_images(self, served: Served) -> None:
        answers: queue.Queue[paho.MQTTMessage] = queue.Queue()
        old = MQTTProtocolVersion.MQTTv311
        with subscriber(served.broker, TOPICS.result("digits"), answers.put, protocol=old) as client:
            for payload in (json_request(), png()):
                client.publish(TOPICS.infer("digits"), payload, qos=1)
            by_tensor, by_image = (json.loads(answers.get(timeout=10).payload) for _ in range(2))
        assert by_tensor["id"] == "r1"
        assert [output["name"] for output in by_image["outputs"]] == ["labels", "scores", "indices"]

    def test_qos_0_requests_are_answered(self, ask: Asker) -> None:
        assert ask.ask(TOPICS.infer("digits"), json_request(), qos=0).json["id"] == "r1"


def bmp() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "BMP")
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    whole = png()
    header = whole[12:16] + struct.pack(">II", width, height) + whole[24:29]
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


REFUSED = {
    "not JSON": (b"hello", {}, "invalid_request", "JSON"),
    "no inputs": (b'{"id": "r1", "inputs": []}', {}, "invalid_input_name", "image"),
    "a misspelt input": (json_request(name="picture"), {}, "invalid_input_name", "image"),
    "another datatype": (json_request(datatype="INT64", data=[0] * 64), {}, "invalid_input_datatype", "FP32"),
    "another shape": (json_request(shape=[1, 64]), {}, "invalid_input_shape", "[1, 1, 8, 8]"),
    "too few values": (json_request(data=[1.0]), {}, "invalid_input_data", "64"),
    "a huge shape": (json_request(shape=[1, 1, 2**40, 2**40]), {}, "invalid_input_shape", "image"),
    "deep nesting": (b'{"inputs":' + b"[" * 5000 + b"]" * 5000 + b"}", {}, "invalid_request", ""),
    "a broken image": (png()[:40], {"content_type": "image/png"}, "invalid_image", ""),
    "an image bomb": (png_that_claims(60_000, 60_000), {"content_type": "image/png"}, "invalid_image", "60000"),
    "another image format": (bmp(), {"content_type": "image/png"}, "invalid_image", ""),
    "an unknown content type": (b"{}", {"content_type": "text/html"}, "unsupported_content_type", "application/json"),
    "a payload over the limit": (b"{" + b" " * MAX_PAYLOAD, {}, "payload_too_large", str(MAX_PAYLOAD)),
    "a bad header length": (
        b"{}",
        {"content_type": "application/octet-stream", "user_properties": [("Inference-Header-Content-Length", "x")]},
        "invalid_request",
        "Inference-Header-Content-Length",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_bad_request_gets_an_error_that_names_what_was_expected(ask: Asker, what: str) -> None:
    payload, options, code, expected = REFUSED[what]
    reply = ask.ask(TOPICS.infer("digits"), payload, **options)
    assert reply.json["code"] == code
    assert reply.user_properties["code"] == code
    assert expected in reply.json["error"]
    # And the agent goes on serving.
    assert ask.ask(TOPICS.infer("digits"), json_request()).user_properties["code"] == "ok"


def test_an_error_echoes_the_requests_id(ask: Asker) -> None:
    assert ask.ask(TOPICS.infer("digits"), json_request(shape=[1, 64])).json["id"] == "r1"


def test_an_unknown_model_is_answered_with_the_names_of_the_known_ones(ask: Asker) -> None:
    reply = ask.ask(TOPICS.infer("faces"), json_request())
    assert reply.json["code"] == "unknown_model"
    assert "'faces' is not active here; active models: digits" in reply.json["error"]
    assert reply.json["id"] == "r1"


def test_another_version_is_answered_with_the_active_one(ask: Asker) -> None:
    reply = ask.ask(TOPICS.infer("digits", "9.9.9"), json_request())
    assert reply.json["code"] == "unknown_model"
    assert "the active version is '1.0.0'" in reply.json["error"]


def test_a_reply_is_never_sent_to_an_inference_topic(served: Served, ask: Asker) -> None:
    ask.send(TOPICS.infer("digits"), json_request().replace(b"r1", b"r3"), response_topic=TOPICS.infer("digits"))
    assert served.heard.wait_for(TOPICS.result("digits"), id="r3")["code"] == "invalid_request"


class TestAnnouncements:
    def test_the_birth_message_is_retained(self, served: Served) -> None:
        with listener(served.broker) as late:
            status = DeviceStatus.model_validate(late.wait_for(TOPICS.status))
        assert (status.state, status.device) == ("online", DEVICE)

    def test_the_model_state_is_retained_and_says_what_runs(self, served: Served) -> None:
        with listener(served.broker) as late:
            state = ModelState.model_validate(late.wait_for(TOPICS.model_state("digits")))
        assert (state.version, state.release, state.health, state.variant) == ("1.0.0", 1, "ready", "ort-fp32")
        assert state.plan is not None
        assert state.plan.threads == 1
        assert state.inputs is not None
        assert state.inputs[0].shape == (1, 1, 8, 8)

    def test_telemetry_counts_outcomes_and_times_each_stage(self, served: Served, ask: Asker) -> None:
        served.heard.wait_for(TOPICS.model_telemetry("digits"), outcomes={})
        ask.ask(TOPICS.infer("digits"), json_request())
        ask.ask(TOPICS.infer("digits"), b"hello")
        wanted = {"ok": 1, "invalid_request": 1}
        telemetry = ModelTelemetry.model_validate(
            served.heard.wait_for(TOPICS.model_telemetry("digits"), outcomes=wanted)
        )
        for stage in (telemetry.queue, telemetry.decode, telemetry.inference, telemetry.encode, telemetry.total):
            assert stage is not None
            assert stage.count == 1
            assert 0 < stage.p50_ms <= stage.max_ms

    def test_device_telemetry_tells_memory_and_uptime(self, served: Served) -> None:
        telemetry = DeviceTelemetry.model_validate(served.heard.wait_for(TOPICS.device_telemetry))
        assert telemetry.uptime_s > 0
        assert telemetry.agent_memory_bytes > 10_000_000
        assert telemetry.workers_memory_bytes > 10_000_000


def test_the_agents_parent_maps_no_numpy_and_no_runtime(served: Served) -> None:
    maps = Path(f"/proc/{served.agent.process.pid}/maps").read_text(encoding="utf-8")
    assert "pydantic_core" in maps
    for library in ("numpy", "onnxruntime", "PIL", "cryptography"):
        assert library not in maps
