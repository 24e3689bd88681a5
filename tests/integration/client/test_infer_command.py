"""`drupelet infer` as a process, over a real broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from paho.mqtt.client import MQTTMessage

from drupelet_shared.contract.messages import ModelState
from drupelet_shared.contract.wire import encode_error
from drupelet_shared.errors import OverloadedError
from drupelet_shared.inference import Encoded, InferenceReply, InferenceRequest, encode_reply
from drupelet_shared.tensors import Datatype, TensorSpec
from fakes.device import NAME, Answer, fake_device, read_request
from support.agent.commands import drupelet
from support.broker.brokers import Broker

PNG = b"\x89PNG\r\n\x1a\n...."


def infer(broker: Broker, file: Path, *options: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "drupelet_host", "infer", "double", str(file), "--device", NAME]
    command += ["--broker", broker.url, "--timeout", "10", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DRUPELET_")}
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert result.returncode == status, result.stderr
    return result


def classify(_: MQTTMessage) -> Answer:
    outputs = {
        "labels": np.array([b"[red]ant", b"bee"], dtype=object),
        "scores": np.array([0.75, 0.25], np.float32),
        "indices": np.array([3, 1]),
    }
    return Answer(encode_reply(InferenceReply(model_name="double", outputs=outputs), InferenceRequest(inputs={})))


def state(*names: str) -> ModelState:
    inputs = tuple(TensorSpec(name=name, datatype=Datatype.FP32, shape=(-1,)) for name in names)
    return ModelState(model="double", version="1", release=1, digest="0" * 64, health="ready", inputs=inputs)


def test_an_image_is_answered_with_a_table_of_labels(embedded: Broker, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(PNG)
    with fake_device(embedded, classify):
        everything = infer(embedded, tmp_path / "x.png")
        best = infer(embedded, tmp_path / "x.png", "--top", "1")
    assert "[red]ant" in everything.stdout
    assert "0.2500" in everything.stdout
    assert "bee" not in best.stdout
    assert f"{NAME} answered in" in best.stderr


def test_an_npy_file_goes_to_the_only_input_that_the_device_announced(embedded: Broker, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(20, dtype=np.float32))
    with fake_device(embedded) as device:
        device.announce(state("pixels"))
        result = infer(embedded, tmp_path / "x.npy", "--output", str(tmp_path / "y.npy"))
    assert list(read_request(device.requests[0]).inputs) == ["pixels"]
    assert "FP32" in result.stdout
    assert "[20]" in result.stdout
    assert np.load(tmp_path / "y.npy").tolist() == list(range(0, 40, 2))


def test_an_npy_file_for_one_of_several_inputs_needs_its_name(embedded: Broker, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(2, np.float32))
    with fake_device(embedded) as device:
        device.announce(state("a", "b"))
        refused = infer(embedded, tmp_path / "x.npy", status=1)
        infer(embedded, tmp_path / "x.npy", "--input", "b")
    assert "name the input with --input; its inputs: 'a', 'b' [data_invalid]" in refused.stderr
    assert list(read_request(device.requests[0]).inputs) == ["b"]


def test_the_arrays_of_an_npz_file_go_to_the_inputs_of_their_names(embedded: Broker, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([1.0]), b=np.array([2], np.int8))
    with fake_device(embedded):
        result = infer(embedded, tmp_path / "x.npz", "--json", "--output", str(tmp_path / "y.npz"))
        refused = infer(embedded, tmp_path / "x.npz", "--output", str(tmp_path / "y.npy"), status=1)
    outputs = {output["name"]: output for output in json.loads(result.stdout)["outputs"]}
    assert outputs["b"] == {"name": "b", "datatype": "INT8", "shape": [1], "data": [4]}
    assert dict(np.load(tmp_path / "y.npz")) == {"a": 2.0, "b": 4}
    assert "expected .npz for 2 tensors" in refused.stderr


def test_a_json_file_is_sent_as_it_is(embedded: Broker, tmp_path: Path) -> None:
    document = {"id": "7", "inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [4]}]}
    (tmp_path / "x.json").write_text(json.dumps(document))
    with fake_device(embedded) as device:
        result = infer(embedded, tmp_path / "x.json", "--json")
    assert json.loads(result.stdout)["id"] == "7"
    assert json.loads(device.requests[0].payload) == document


def test_top_of_an_answer_without_labels_is_an_error(embedded: Broker, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([1.0]))
    with fake_device(embedded):
        refused = infer(embedded, tmp_path / "x.npz", "--top", "3", status=1)
    assert "--top 3 needs labelled classes, and the answer has the outputs a" in refused.stderr
    assert refused.stdout == ""


def test_a_misspelt_or_absent_device_is_an_error_at_once_with_the_nearest_name(
    embedded: Broker, tmp_path: Path
) -> None:
    (tmp_path / "x.png").write_bytes(PNG)
    with fake_device(embedded, classify) as device:
        start = time.monotonic()
        misspelt = infer(embedded, tmp_path / "x.png", "--device", "pi-fak", "--timeout", "60", status=1)
        unknown = drupelet("status", "--device", "pi-fak", "--broker", embedded.url, "--timeout", "60", status=1)
        assert time.monotonic() - start < 40
        device.announce_status("offline")
        offline = infer(embedded, tmp_path / "x.png", status=1)
    for refused in (misspelt, unknown):
        assert "device 'pi-fak' has not announced itself: did you mean 'pi-fake'?" in refused.stderr
        assert refused.stderr.endswith("[device_offline]\n")
    assert "device 'pi-fake' says that it is offline" in offline.stderr
    assert device.requests == []


def test_a_refusal_by_the_device_is_exit_status_1(embedded: Broker, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(PNG)
    body = Encoded(encode_error(OverloadedError("queue of 64 is full"), request_id=None), "application/json", None)
    with fake_device(embedded, lambda _: Answer(body, code="overloaded")):
        result = infer(embedded, tmp_path / "x.png", status=1)
    assert result.stderr == f"error: device '{NAME}' answered overloaded: queue of 64 is full [remote_error]\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--broker", "mqtt://user:secret@localhost"], "put the password in a file or in DRUPELET_PASSWORD"),
        (["--broker", "http://localhost"], "expected mqtt://"),
        (["--key-file", "x.png"], "--key-file needs --cert-file"),
        (["--top", "0"], "--top"),
    ],
)
def test_wrong_usage_is_exit_status_2(embedded: Broker, tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "x.png").write_bytes(PNG)
    options = [str(tmp_path / "x.png") if option == "x.png" else option for option in options]
    result = infer(embedded, tmp_path / "x.png", *options, status=2)
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "secret" not in result.stderr


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY broken", b"PK\3\4 broken"])
def test_a_broken_numpy_file_is_refused(embedded: Broker, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    result = infer(embedded, tmp_path / "x.npy", status=1)
    assert "no readable NumPy file" in result.stderr
