from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from drupelet import Runtime
from drupelet_host.errors import MemoryLimitError
from drupelet_host.evaluation.memory import measure_peak_memory
from drupelet_shared.errors import (
    EngineError,
    InferenceFailedError,
    InputNameError,
    InputShapeError,
    InvalidValueError,
    ModelLoadError,
)
from support.model.onnx_models import write_add_model, write_expanding_model

CONFIG = {"device_type": "raspberry_pi_4", "memory_limit": "512MB", "cpu_cores": 4}
ONE = np.ones((1, 1), dtype=np.float32)
MEGABYTE = 10**6


def test_a_loaded_model_is_called_with_arrays(tmp_path: Path) -> None:
    with Runtime(CONFIG).load_model(write_add_model(tmp_path / "add.onnx", value=2.0)) as net:
        assert net(ONE).tolist() == [[3.0]]
        assert net.run({"input": 5 * ONE})["output"].tolist() == [[7.0]]
        assert net.inputs[0].shape == (1, 1)


def test_the_model_runs_in_a_process_with_the_cores_it_may_use(tmp_path: Path) -> None:
    with Runtime({**CONFIG, "cpu_cores": 1}).load_model(write_add_model(tmp_path / "add.onnx")) as net:
        assert net.threads == 1
        assert len(os.sched_getaffinity(net.process_id)) == 1
        assert net.process_id != os.getpid()


def test_more_cores_than_the_machine_has_are_those_it_has(tmp_path: Path) -> None:
    with Runtime({**CONFIG, "cpu_cores": 1000}).load_model(write_add_model(tmp_path / "add.onnx")) as net:
        assert net.threads == len(os.sched_getaffinity(0))


def test_a_model_whose_weights_do_not_fit_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    path = write_add_model(tmp_path / "large.onnx", weight_count=40 * MEGABYTE)
    with pytest.raises(
        MemoryLimitError, match=r"large\.onnx: needs at least \d+ bytes .*: the limit is 128000000 bytes"
    ):
        Runtime({**CONFIG, "memory_limit": "128MB"}).load_model(path)


def test_a_model_that_outgrows_the_limit_while_it_runs_is_stopped(tmp_path: Path) -> None:
    path = write_expanding_model(tmp_path / "wide.onnx", count=60 * MEGABYTE)
    message = r"wide\.onnx: needs more than the limit of 200000000 bytes"
    with (
        Runtime({**CONFIG, "memory_limit": "200MB"}).load_model(path) as net,
        pytest.raises(MemoryLimitError, match=message),
    ):
        net(ONE)


def test_the_same_model_runs_within_a_limit_that_is_large_enough(tmp_path: Path) -> None:
    path = write_expanding_model(tmp_path / "wide.onnx", count=60 * MEGABYTE)
    with Runtime({**CONFIG, "memory_limit": "1GB"}).load_model(path) as net:
        assert net(0 * ONE).tolist() == [[1.0]]


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelLoadError, match=r"model\.onnx"):
        Runtime(CONFIG).load_model(tmp_path / "model.onnx")


def test_inputs_that_the_model_does_not_take_are_refused(tmp_path: Path) -> None:
    with Runtime(CONFIG).load_model(write_add_model(tmp_path / "add.onnx")) as net:
        with pytest.raises(InputShapeError, match=r"shape \[2, 2\]: the model takes \[1, 1\]"):
            net(np.ones((2, 2), dtype=np.float32))
        with pytest.raises(InputNameError, match="got 2 inputs: the model takes 1"):
            net(ONE, ONE)
        assert net(ONE).tolist() == [[2.0]]


def test_a_closed_model_says_that_it_has_ended(tmp_path: Path) -> None:
    net = Runtime(CONFIG).load_model(write_add_model(tmp_path / "add.onnx"))
    net.close()
    with pytest.raises(InferenceFailedError, match="its process has ended"):
        net(ONE)


def test_a_process_that_dies_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    with Runtime(CONFIG).load_model(write_add_model(tmp_path / "add.onnx")) as net:
        os.kill(net.process_id, 9)
        with pytest.raises(InferenceFailedError, match=r"its process (ended with status -9|has ended)"):
            net(ONE)


def test_unknown_keys_are_refused_with_those_that_are_allowed() -> None:
    with pytest.raises(InvalidValueError) as caught:
        Runtime({"memory": "512MB", "cpu_cores": 0, "gpu": True, "device_type": "toaster"})
    text = str(caught.value)
    assert "memory: unknown key; did you mean 'memory_limit'?" in text
    assert "gpu: unknown key; allowed are device_type, memory_limit, cpu_cores" in text
    assert "cpu_cores = 0: input should be greater than or equal to 1" in text
    assert "device_type = 'toaster': expected one of raspberry_pi_4" in text


def test_peak_memory_grows_with_what_the_model_uses(tmp_path: Path) -> None:
    feed = {"input": ONE}
    small = measure_peak_memory(
        write_expanding_model(tmp_path / "a.onnx", count=1), feed, engine="onnxruntime", threads=1
    )
    large = measure_peak_memory(
        write_expanding_model(tmp_path / "b.onnx", count=30 * MEGABYTE), feed, engine="onnxruntime", threads=1
    )
    assert large - small > 100 * MEGABYTE


def test_a_model_whose_memory_cannot_be_measured_is_an_engine_error(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(EngineError, match=r"model\.onnx: measuring its memory ended with status 1"):
        measure_peak_memory(tmp_path / "model.onnx", {"input": ONE}, engine="onnxruntime", threads=1)
