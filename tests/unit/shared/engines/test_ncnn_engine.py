"""The ncnn adapter: what it imports, the signature of a model, and batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from drupelet_shared.engines.files import model_files, model_size_bytes
from drupelet_shared.engines.ncnn import NcnnEngine
from drupelet_shared.engines.ncnn_session import limit_winograd
from drupelet_shared.engines.ncnn_signature import NcnnSignature, NcnnTensor
from drupelet_shared.errors import InferenceFailedError, ModelLoadError
from drupelet_shared.tensors import Datatype, TensorSpec
from support.model.ncnn_models import write_add_ncnn, write_linear_ncnn
from support.package.served_packages import linear_weights

SIGNATURE = NcnnSignature(
    (NcnnTensor(TensorSpec(name="image", datatype=Datatype.FP32, shape=(1, 3, 8, 8)), "in0", 0),),
    (NcnnTensor(TensorSpec(name="scores", datatype=Datatype.FP32, shape=(-1, 10)), "out0", None),),
    "0" * 64,
)


def test_it_is_loaded_without_the_http_client_of_its_python_layer() -> None:
    code = (
        "import sys; from drupelet_shared.engines.registry import load_engine; load_engine('ncnn');"
        "print(sorted({'requests', 'tqdm', 'portalocker', 'ncnn.model_zoo'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_signatures_are_written_and_read_without_ncnn() -> None:
    code = (
        "import sys; sys.modules['ncnn'] = None; import drupelet_shared.engines.ncnn_signature;"
        "import drupelet_host.ncnn_files.writing, drupelet_host.compiler.passes.quantize_ncnn"
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def test_a_signature_reads_as_it_was_written() -> None:
    assert NcnnSignature.parse(f"7767517\n0 0\n{SIGNATURE.to_line()}") == SIGNATURE


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "is missing"),
        ("#drupelet {", "malformed"),
        ("#drupelet []", "malformed"),
        ('#drupelet {"inputs": 1, "outputs": [], "weights_sha256": ""}', "malformed"),
        (SIGNATURE.to_line().replace("FP32", "INT64"), "ncnn takes and gives FP32"),
        (SIGNATURE.to_line().replace('"batch_axis": 0', '"batch_axis": 4'), "batch axis 4"),
    ],
    ids=["missing", "not-json", "list", "number", "datatype", "axis"],
)
def test_a_model_whose_signature_cannot_be_read_is_not_loaded(tmp_path: Path, line: str, reason: str) -> None:
    path = write_linear_ncnn(tmp_path / "m.param", linear_weights())
    graph = [kept for kept in path.read_text().splitlines() if not kept.startswith("#")]
    path.write_text("\n".join([*graph, line]) + "\n")
    with pytest.raises(ModelLoadError, match=reason):
        NcnnEngine().load(path, threads=1)


def test_a_signature_that_names_a_tensor_the_graph_lacks_is_refused(tmp_path: Path) -> None:
    path = write_linear_ncnn(tmp_path / "m.param", linear_weights())
    path.write_text(path.read_text().replace('"blob": "scores"', '"blob": "absent"'))
    with pytest.raises(ModelLoadError, match="has no tensor absent"):
        NcnnEngine().load(path, threads=1)


@pytest.mark.parametrize("kept_bytes", [0, 100], ids=["empty", "cut"])
def test_a_model_whose_weights_are_cut_short_is_not_loaded(tmp_path: Path, kept_bytes: int) -> None:
    path = write_linear_ncnn(tmp_path / "m.param", linear_weights())
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:kept_bytes])
    with pytest.raises(ModelLoadError, match=r"m\.bin"):
        NcnnEngine().load(path, threads=1)


def convolution(name: str, weights: int, *, stride: int = 1, int8: str = " 8=2") -> str:
    return f"Convolution {name} 1 1 a b 0=8 1=3 11=3 3={stride} 6={weights} 9=1{int8}"


def without_winograd(*layers: str) -> list[str]:
    lines = limit_winograd("\n".join(layers)).splitlines()
    assert [line.removesuffix(" 31=64") for line in lines] == list(layers)
    return [line.split()[1] for line in lines if line.endswith(" 31=64")]


def test_int8_layers_with_the_most_weights_do_without_copies_that_take_more_than_twice_all_weights() -> None:
    large, larger, small = convolution("large", 2_000_000), convolution("larger", 2_400_000), convolution("small", 900)

    assert without_winograd(larger, small, large) == ["larger", "large"]
    assert without_winograd(larger, small, large, "Convolution wide 1 1 a b 1=1 11=1 3=1 6=6000000 9=1 8=2") == [
        "larger"
    ]


def test_copies_of_few_megabytes_and_other_layers_are_left_as_they_are() -> None:
    small = [convolution(f"small{number}", 100_000) for number in range(10)]
    others = [convolution("float", 9_000_000, int8=""), convolution("strided", 9_000_000, stride=2)]

    assert without_winograd(*small) == []
    assert without_winograd(*others) == []


def test_the_input_of_an_in_place_layer_is_left_as_it_was(tmp_path: Path) -> None:
    session = NcnnEngine().load(write_add_ncnn(tmp_path / "m.param", shape=(2, 3)), threads=1)
    array = np.zeros((2, 3), np.float32)
    session.run({"input": array}, ["output"])
    np.testing.assert_array_equal(array, 0)


def test_a_batch_is_computed_sample_by_sample(tmp_path: Path) -> None:
    path = write_linear_ncnn(tmp_path / "m.param", linear_weights())
    path.write_text(path.read_text().replace("[1, 1, 8, 8]", "[-1, 1, 8, 8]").replace("[1, 10]", "[-1, 10]"))
    images = np.random.default_rng(0).standard_normal((3, 1, 8, 8)).astype(np.float32)
    scores = NcnnEngine().load(path, threads=1).run({"image": images}, ["scores"])["scores"]
    np.testing.assert_allclose(scores, images.reshape(3, 64) @ linear_weights(), atol=1e-4)


def test_a_batch_of_a_model_without_a_batch_dimension_is_refused(tmp_path: Path) -> None:
    path = write_linear_ncnn(tmp_path / "m.param", linear_weights())
    text = path.read_text().replace("[1, 1, 8, 8]", "[-1, 1, 8, 8]")
    before, after = text.split('"outputs"')
    path.write_text(before + '"outputs"' + after.replace('"batch_axis": 0', '"batch_axis": null'))
    session = NcnnEngine().load(path, threads=1)
    with pytest.raises(InferenceFailedError, match="a batch of 2 was given"):
        session.run({"image": np.zeros((2, 1, 8, 8), np.float32)}, ["scores"])


STARVED = """
import resource, sys
from pathlib import Path
import numpy as np
from drupelet_shared.engines.registry import load_engine
session = load_engine("ncnn").load(Path(sys.argv[1]), threads=1)
array = np.ones((50_000, 1000), np.float32)
held = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (held + int(sys.argv[2]) * 10**6,) * 2)
try:
    session.run({"input": array}, ["output"])
except MemoryError:
    print("MemoryError")
"""


@pytest.mark.parametrize("room_mb", [10, 250, 700])
def test_tensors_for_which_there_is_no_memory_are_an_error_and_no_crash(tmp_path: Path, room_mb: int) -> None:
    """The copy of the input fails, a layer, and the copy of the output."""
    path = write_add_ncnn(tmp_path / "m.param", shape=(50_000, 1000))
    command = [sys.executable, "-c", STARVED, str(path), str(room_mb)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "MemoryError\n"


def test_a_model_is_a_pair_of_files(tmp_path: Path) -> None:
    path = write_linear_ncnn(tmp_path / "m.param", linear_weights())
    files = model_files(path)
    assert [file.name for file in files] == ["m.param", "m.bin"]
    assert model_size_bytes(path) == sum(file.stat().st_size for file in files)
    assert model_files(tmp_path / "m.onnx") == (tmp_path / "m.onnx",)
