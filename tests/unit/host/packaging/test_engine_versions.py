"""The minimum engine version of a variant: what the file needs, by a table that is checked with the oldest wheels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from drupelet_host.onnx_files.optimisation import optimise
from drupelet_host.packaging.engine_versions import find_min_version
from drupelet_host.quantization.dynamic import quantize_dynamic
from drupelet_host.quantization.static import quantize_static
from support.model import branching_networks, odd_networks
from support.model.model_wheels import ModelWheel, unpack_wheel
from support.model.odd_networks import QUANTIZABLE
from support.model.odd_parts import VECTOR, feeds

OLDEST = "1.20"
# The wheel of the oldest version that a package may ask for, for CPython 3.11 on x86-64.
OLDEST_WHEEL = ModelWheel("onnxruntime==1.20.0", "041fefe60af844ebd90f344c84f908201490555cd0a6d78dd0a7acdc27b59972")
LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
import onnxruntime
assert onnxruntime.__version__ == "1.20.0", onnxruntime.__version__
for path in sys.argv[2:]:
    onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
"""


@pytest.mark.parametrize(
    ("opset", "ir", "version"),
    [(13, 7, "1.20"), (21, 10, "1.20"), (22, 10, "1.21"), (23, 10, "1.23"), (21, 11, "1.23"), (24, 10, "1.24")],
)
def test_the_version_follows_from_operator_set_and_ir_version(
    tmp_path: Path, opset: int, ir: int, version: str
) -> None:
    path = odd_networks.one_head(tmp_path / "model.onnx")
    model = onnx.load(path)
    model.opset_import[0].version, model.ir_version = opset, ir
    onnx.save(model, path)
    assert find_min_version(path, oldest=OLDEST) == version


def test_the_version_follows_from_an_operator_of_onnx_runtime(tmp_path: Path) -> None:
    path = odd_networks.one_head(tmp_path / "model.onnx")
    model = onnx.load(path)
    model.graph.node[1].op_type, model.graph.node[1].domain = "LinearAttention", "com.microsoft"
    onnx.save(model, path)
    assert find_min_version(path, oldest=OLDEST) == "1.26"


def test_packages_never_ask_for_less_than_the_target_has(tmp_path: Path) -> None:
    assert find_min_version(odd_networks.one_head(tmp_path / "model.onnx"), oldest="1.28") == "1.28"


@pytest.mark.skipif("DRUPELET_OLD_ENGINES" not in os.environ, reason="fetches a wheel: set DRUPELET_OLD_ENGINES=1")
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the wheel is for CPython 3.11")
def test_what_asks_for_the_oldest_version_loads_in_it(tmp_path: Path) -> None:
    paths = []
    for number, (make, samples) in enumerate(QUANTIZABLE.values()):
        source, whole = make(tmp_path / f"{number}.onnx"), tmp_path / f"{number}.float.onnx"
        optimise(source, whole, samples=samples[:2])
        int8 = tmp_path / f"{number}.int8.onnx"
        quantize_static(whole, int8, calibration=samples)
        paths += [whole, int8]
    whole, int8 = tmp_path / "loop.onnx", tmp_path / "dynamic.onnx"
    optimise(branching_networks.loop(tmp_path / "source.onnx"), whole, samples=feeds(VECTOR, count=2))
    quantize_dynamic(whole, int8)
    paths += [whole, int8]
    assert {find_min_version(path, oldest=OLDEST) for path in paths} == {OLDEST}
    folder = unpack_wheel(OLDEST_WHEEL)
    subprocess.run([sys.executable, "-c", LOAD, folder, *paths], check=True, timeout=100)
