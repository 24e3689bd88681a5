"""A signed package whose inference takes microseconds, so that what is measured is the path to it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from drupelet_host.packaging.builder import PackageDescription, build_package
from drupelet_host.packaging.keys import load_private_key
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.inference import Encoded, InferenceRequest, RequestedOutput, encode_request
from drupelet_shared.package.golden import record_golden
from drupelet_shared.package.manifest import Golden, Latency, Target, Variant
from drupelet_shared.tensors import Datatype, TensorSpec
from support.package.served_packages import make_keys

MODEL = "spine"
# The outputs: the input's first values, and all of them.
HEAD = "head"
COPY = "copy"
HEAD_VALUES = 10
_INPUT = "values"
_VARIANT = "ort-fp32"


def encode_values(values: np.ndarray, *, output: str) -> Encoded:
    """Return a binary request for one of the two outputs.

    Args:
        values: FP32, shape (n,).
        output: `HEAD` or `COPY`.
    """
    outputs = (RequestedOutput(output, binary=True),)
    return encode_request(InferenceRequest(inputs={_INPUT: values[np.newaxis]}, outputs=outputs), binary=True)


def make_spine_package(folder: Path) -> tuple[Path, Path]:
    """Build the package in a folder; returns it and the public key that a device must trust."""
    keys = make_keys(folder)
    model = _onnx_file()
    path = folder / "model.onnx"
    path.write_bytes(model)
    session = load_engine("onnxruntime").load(path, threads=1)
    golden = record_golden(session, [{_INPUT: np.linspace(0, 1, 64, dtype=np.float32)[np.newaxis]}])
    variant = Variant(
        id=_VARIANT,
        engine="onnxruntime",
        engine_min_version="1.20",
        precision="fp32",
        path=f"variants/{_VARIANT}/model.onnx",
        size_bytes=len(model),
        peak_memory_bytes=0,
        metrics={},
        latency=Latency(p50_ms=0.05, p99_ms=0.1, threads=1, machine="not measured: the model computes nothing"),
        golden=Golden(path=f"golden/{_VARIANT}.npz", samples=golden.samples, tolerance=1e-6),
    )
    files: dict[str, bytes | Path] = {variant.path: model, variant.golden.path: golden.to_bytes()}
    package = build_package(folder, _describe(variant), files, signing_key=load_private_key(keys.private))
    return package.path, keys.public


def _describe(variant: Variant) -> PackageDescription:
    return PackageDescription(
        name=MODEL,
        version="1.0.0",
        release=1,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        task="copy",
        inputs=(TensorSpec(name=_INPUT, datatype=Datatype.FP32, shape=(1, -1)),),
        outputs=(
            TensorSpec(name=HEAD, datatype=Datatype.FP32, shape=(1, HEAD_VALUES)),
            TensorSpec(name=COPY, datatype=Datatype.FP32, shape=(1, -1)),
        ),
        target=Target(device="raspberry_pi_4", architecture="aarch64"),
        variants=(variant,),
    )


def _onnx_file() -> bytes:
    nodes = [
        helper.make_node("Slice", [_INPUT, "starts", "ends", "axes"], [HEAD]),
        helper.make_node("Identity", [_INPUT], [COPY]),
    ]
    indices = {"starts": 0, "ends": HEAD_VALUES, "axes": 1}
    graph = helper.make_graph(
        nodes,
        MODEL,
        [helper.make_tensor_value_info(_INPUT, TensorProto.FLOAT, [1, "length"])],
        [
            helper.make_tensor_value_info(HEAD, TensorProto.FLOAT, [1, HEAD_VALUES]),
            helper.make_tensor_value_info(COPY, TensorProto.FLOAT, [1, "length"]),
        ],
        [numpy_helper.from_array(np.array([value], np.int64), name) for name, value in indices.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data
