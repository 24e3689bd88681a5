"""What every engine adapter promises, on equivalent small models."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from drupelet_shared.engines.base import Engine, Session
from drupelet_shared.engines.registry import ENGINES, load_engine
from drupelet_shared.errors import EngineUnavailableError, InferenceFailedError, ModelLoadError
from drupelet_shared.tensors import Datatype, TensorSpec
from support.model import ncnn_models, onnx_models, tflite_models
from support.package.served_packages import linear_model, linear_weights

IMAGE = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)


@dataclass(frozen=True)
class Case:
    """An engine's name, and writers of its models."""

    name: str
    suffix: str
    linear: Callable[[Path], object]
    rows: Callable[[Path], object]
    expanding: Callable[[Path], object]


# Elements; 200 MB.
_EXPANDED = 50_000_000

CASES = (
    Case(
        "onnxruntime",
        ".onnx",
        lambda path: path.write_bytes(linear_model()),
        onnx_models.write_row_model,
        lambda path: onnx_models.write_expanding_model(path, count=_EXPANDED),
    ),
    Case(
        "litert",
        ".tflite",
        lambda path: tflite_models.write_linear_tflite(path, linear_weights()),
        lambda path: tflite_models.write_add_tflite(path, shape=(-1, 3)),
        lambda path: tflite_models.write_expanding_tflite(path, count=_EXPANDED),
    ),
    Case(
        "ncnn",
        ".param",
        lambda path: ncnn_models.write_linear_ncnn(path, linear_weights()),
        lambda path: ncnn_models.write_add_ncnn(path, shape=(-1, 3)),
        lambda path: ncnn_models.write_expanding_ncnn(path, count=_EXPANDED),
    ),
)


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    found = request.param
    assert isinstance(found, Case)
    return found


@pytest.fixture
def engine(case: Case) -> Engine:
    return load_engine(case.name)


@pytest.fixture
def linear(case: Case, engine: Engine, tmp_path: Path) -> Session:
    """`scores = flatten(image) @ weights`."""
    path = tmp_path / f"linear{case.suffix}"
    case.linear(path)
    return engine.load(path, threads=2)


@pytest.fixture
def rows(case: Case, engine: Engine, tmp_path: Path) -> Session:
    """`output = input + 1` for any number of rows."""
    path = tmp_path / f"rows{case.suffix}"
    case.rows(path)
    return engine.load(path, threads=1)


def test_every_registered_engine_is_held_to_this_contract() -> None:
    assert {case.name for case in CASES} == set(ENGINES)


def test_an_engine_has_its_registered_name_and_the_runtimes_version(case: Case, engine: Engine) -> None:
    assert engine.name == case.name
    assert int(engine.version.split(".")[0]) >= 1


def test_an_engine_older_than_a_variant_needs_is_unavailable(case: Case) -> None:
    with pytest.raises(EngineUnavailableError, match=r"the variant needs 99\.1"):
        load_engine(case.name, min_version="99.1")


def test_a_session_names_its_tensors(linear: Session) -> None:
    assert linear.inputs == (TensorSpec(name="image", datatype=Datatype.FP32, shape=(1, 1, 8, 8)),)
    assert linear.outputs == (TensorSpec(name="scores", datatype=Datatype.FP32, shape=(1, 10)),)


def test_a_session_computes_what_the_model_says(linear: Session) -> None:
    scores = linear.run({"image": IMAGE}, ["scores"])["scores"]
    np.testing.assert_allclose(scores, IMAGE.reshape(1, 64) @ linear_weights(), atol=1e-5)


def test_inputs_may_be_read_only_views_of_a_larger_buffer(linear: Session) -> None:
    buffer = bytes(4) + IMAGE.tobytes()
    view = np.frombuffer(buffer, np.float32, offset=4).reshape(IMAGE.shape)
    expected = linear.run({"image": IMAGE}, ["scores"])["scores"]
    np.testing.assert_array_equal(linear.run({"image": view}, ["scores"])["scores"], expected)


def test_inputs_need_not_be_contiguous(linear: Session) -> None:
    turned = np.asfortranarray(IMAGE)
    expected = linear.run({"image": IMAGE}, ["scores"])["scores"]
    np.testing.assert_array_equal(linear.run({"image": turned}, ["scores"])["scores"], expected)


def test_outputs_outlive_the_next_run(linear: Session) -> None:
    first = linear.run({"image": IMAGE}, ["scores"])["scores"]
    kept = first.copy()
    linear.run({"image": -IMAGE}, ["scores"])
    np.testing.assert_array_equal(first, kept)


def test_a_variable_dimension_takes_any_size(rows: Session) -> None:
    assert rows.inputs[0].shape == rows.outputs[0].shape == (-1, 3)
    for count in (2, 5, 1):
        output = rows.run({"input": np.full((count, 3), 0.5, np.float32)}, ["output"])["output"]
        np.testing.assert_array_equal(output, np.full((count, 3), 1.5, np.float32))


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": np.ones((2, 4), np.float32)},
        {"input": np.ones(3, np.float32)},
        {"input": np.ones((2, 3), np.float64)},
        {},
        {"input": np.ones((2, 3), np.float32), "more": np.ones((2, 3), np.float32)},
        {"another": np.ones((2, 3), np.float32)},
    ],
    ids=["shape", "rank", "datatype", "missing", "extra", "unknown"],
)
def test_inputs_that_do_not_fit_fail_and_the_session_goes_on(rows: Session, wrong: dict[str, np.ndarray]) -> None:
    right = {"input": np.ones((2, 3), np.float32)}
    rows.run(right, ["output"])
    with pytest.raises(InferenceFailedError):
        rows.run(wrong, ["output"])
    np.testing.assert_array_equal(rows.run(right, ["output"])["output"], np.full((2, 3), 2.0, np.float32))


def test_an_output_that_is_not_there_fails(rows: Session) -> None:
    with pytest.raises(InferenceFailedError, match="absent"):
        rows.run({"input": np.ones((1, 3), np.float32)}, ["absent"])


@pytest.mark.parametrize("content", [b"", b"not a model", None], ids=["empty", "other", "no-file"])
def test_what_is_no_model_is_not_loaded(case: Case, engine: Engine, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / f"broken{case.suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=rf"broken\{case.suffix}"):
        engine.load(path, threads=1)


def test_a_truncated_model_is_not_loaded(case: Case, engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / f"cut{case.suffix}"
    case.linear(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ModelLoadError, match=rf"cut\{case.suffix}"):
        engine.load(path, threads=1)


STARVED = """
import json, pathlib, resource, sys
import numpy as np
from drupelet_shared.engines.registry import load_engine

name, path, room = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
engine = load_engine(name)
status = pathlib.Path("/proc/self/status").read_text().split()
held = int(status[status.index("VmData:") + 1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (held + room, held + room))
try:
    engine.load(path, threads=1).run({"input": np.ones((1, 1), np.float32)}, ["output"])
    print(json.dumps("ran"))
except Exception as error:
    print(json.dumps(type(error).__name__))
"""


@pytest.mark.parametrize(("room_bytes", "expected"), [(2**30, "ran"), (2**27, "MemoryError")], ids=["room", "starved"])
def test_a_model_that_needs_more_memory_than_there_is_says_so(
    case: Case, tmp_path: Path, room_bytes: int, expected: str
) -> None:
    path = tmp_path / f"expanding{case.suffix}"
    case.expanding(path)
    command = [sys.executable, "-c", STARVED, case.name, str(path), str(room_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == expected
