"""Small real packages that engines load: a linear classifier over 8x8 gray images, or the same after much slow work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from drupelet_host.packaging.builder import PackageDescription, build_package
from drupelet_host.packaging.keys import generate_key_pair, load_private_key
from drupelet_shared.engines.base import Array
from drupelet_shared.engines.files import GRAPH_SUFFIX, model_files, model_size_bytes
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.package.golden import GoldenVectors, record_golden
from drupelet_shared.package.manifest import (
    EngineName,
    Golden,
    ImagePreprocessing,
    Latency,
    Target,
    Variant,
)
from drupelet_shared.postprocessing.specs import Classification
from drupelet_shared.tensors import Datatype, TensorSpec
from support.model.ncnn_models import write_linear_ncnn
from support.model.tflite_models import write_linear_tflite

LABELS = tuple(f"digit {number}" for number in range(10))
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
VARIANT = "ort-fp32"
LITERT_VARIANT = "litert-fp32"
NCNN_VARIANT = "ncnn-fp32"
_ENGINES: dict[str, EngineName] = {".onnx": "onnxruntime", ".tflite": "litert", ".param": "ncnn"}
# Writes a model of the linear classifier's interface from its weights, and returns the file.
Writer = Callable[[Path, Array], Path]
_WRITERS: Mapping[str, tuple[str, Writer]] = {
    LITERT_VARIANT: ("model.tflite", write_linear_tflite),
    NCNN_VARIANT: ("model.param", write_linear_ncnn),
}


@dataclass(frozen=True)
class Keys:
    """A signing key and the public half that a device trusts."""

    private: Path
    public: Path


def make_keys(folder: Path, name: str = "maker") -> Keys:
    """A fresh key pair."""
    generate_key_pair(folder / name)
    return Keys(private=folder / f"{name}.key", public=folder / f"{name}.pub")


def linear_weights() -> Array:
    """The weights of the linear classifier, shape (64, 10)."""
    return np.random.default_rng(7).standard_normal((64, 10)).astype(np.float32)


def linear_model() -> bytes:
    """An ONNX file: `image` FP32 (1, 1, 8, 8) to `scores` FP32 (1, 10)."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
    ]
    return _onnx_file(nodes, {"weights": linear_weights()})


def slow_model(*, products: int, size: int = 512) -> bytes:
    """The same interface over a chain of matrix products: about 2 * products * size**3 operations."""
    matrix = np.random.default_rng(7).standard_normal((size, size)).astype(np.float32) / np.float32(size**0.5)
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "spread"], ["row"]),
        # The chain depends on the input, so that it cannot be folded into a constant.
        helper.make_node("Add", ["square", "row"], ["m0"]),
        *(helper.make_node("MatMul", [f"m{i}", "square"], [f"m{i + 1}"]) for i in range(products)),
        helper.make_node("MatMul", ["row", f"m{products}"], ["mixed"]),
        helper.make_node("MatMul", ["mixed", "gather"], ["scores"]),
    ]
    weights = {
        "square": matrix,
        "spread": np.full((64, size), 1 / size, np.float32),
        "gather": np.full((size, 10), 1 / size, np.float32),
    }
    return _onnx_file(nodes, weights)


def wide_model(*, megabytes: int) -> bytes:
    """The same interface with so many megabytes of weights, which hardly compress."""
    width = megabytes * 10**6 // (4 * (64 + 10))
    random = np.random.default_rng(7)
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "spread"], ["wide"]),
        helper.make_node("MatMul", ["wide", "gather"], ["scores"]),
    ]
    weights = {
        "spread": random.standard_normal((64, width)).astype(np.float32),
        "gather": random.standard_normal((width, 10)).astype(np.float32),
    }
    return _onnx_file(nodes, weights)


def greedy_model() -> bytes:
    """The same interface, but an inference allocates 4 bytes times a million times the image's brightest pixel."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["linear"]),
        helper.make_node("ReduceMax", ["flat"], ["brightest"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["brightest", "million"], ["count"]),
        helper.make_node("Cast", ["count"], ["shape"], to=TensorProto.INT64),
        helper.make_node("Expand", ["tiny", "shape"], ["wide"]),
        helper.make_node("Exp", ["wide"], ["raised"]),
        helper.make_node("ReduceMax", ["raised"], ["one"], keepdims=0),
        helper.make_node("Mul", ["linear", "one"], ["scores"]),
    ]
    weights = {
        "weights": linear_weights(),
        "million": np.array(1e6, np.float32),
        "tiny": np.zeros(1, np.float32),
    }
    return _onnx_file(nodes, weights)


def endless_model() -> bytes:
    """The same interface as the linear classifier's, over a loop that does not end."""
    always = numpy_helper.from_array(np.array(True), "always")  # noqa: FBT003 - an array of one element
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["keep_in"], ["keep_out"]),
            helper.make_node("Cos", ["value_in"], ["value_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("keep_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value_in", TensorProto.FLOAT, [1, 10]),
        ],
        [
            helper.make_tensor_value_info("keep_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value_out", TensorProto.FLOAT, [1, 10]),
        ],
    )
    nodes = [
        helper.make_node("Constant", [], ["keep"], value=always),
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["linear"]),
        helper.make_node("Loop", ["", "keep", "linear"], ["scores"], body=body),
    ]
    return _onnx_file(nodes, {"weights": linear_weights()})


def make_package(
    folder: Path,
    keys: Keys | None,
    *,
    name: str = "digits",
    release: int = 1,
    model: bytes | None = None,
    golden_error: float = 0.0,
    peak_memory_bytes: int = 0,
    variants: Sequence[str] = (VARIANT,),
    write: Mapping[str, Writer] | None = None,
    height: int = 8,
    task: str = "image-classification",
    spoil: Mapping[str, Callable[[Path], None]] | None = None,
) -> Path:
    """Build a package in `folder`.

    `golden_error` is added to the recorded outputs to break the golden check; `write` has other models for variants of
    LiteRT and ncnn; `spoil` changes the files of variants after their outputs were recorded; a `height` of -1 lets
    images have any height.
    """
    models = {name: _write_model(folder, name, model or linear_model(), write or {}) for name in variants}
    golden = {name: _record(path, error=golden_error) for name, path in models.items()}
    for variant, change in (spoil or {}).items():
        change(models[variant])
    described = tuple(_variant(name, path, peak_memory_bytes=peak_memory_bytes) for name, path in models.items())
    description = PackageDescription(
        name=name,
        version=f"{release}.0.0",
        release=release,
        created=CREATED,
        task=task,
        inputs=(TensorSpec(name="image", datatype=Datatype.FP32, shape=(1, 1, height, 8)),),
        outputs=(TensorSpec(name="scores", datatype=Datatype.FP32, shape=(1, 10)),),
        preprocessing=ImagePreprocessing(input="image", color="gray", height=8, width=8),
        postprocessing=Classification(output="scores", top_k=3),
        target=Target(device="raspberry_pi_4", architecture="aarch64"),
        variants=described,
    )
    files: dict[str, bytes | Path] = {"labels.txt": "\n".join(LABELS).encode() + b"\n"}
    for variant in described:
        files |= dict(zip(variant.files, model_files(models[variant.id]), strict=True))
        files[variant.golden.path] = golden[variant.id].to_bytes()
    key = load_private_key(keys.private) if keys else None
    return build_package(folder, description, files, signing_key=key).path


def _write_model(folder: Path, variant: str, model: bytes, write: Mapping[str, Writer]) -> Path:
    if variant in _WRITERS:
        name, usual = _WRITERS[variant]
        return write.get(variant, usual)(folder / name, linear_weights())
    path = folder / "model.onnx"
    path.write_bytes(model)
    return path


def _variant(name: str, model: Path, *, peak_memory_bytes: int) -> Variant:
    return Variant(
        id=name,
        engine=_ENGINES[model.suffix],
        engine_min_version="1.0" if model.suffix == GRAPH_SUFFIX else "1.20",
        precision="fp32",
        path=f"variants/{name}/{model.name}",
        weights_path=next((f"variants/{name}/{file.name}" for file in model_files(model)[1:]), None),
        size_bytes=model_size_bytes(model),
        peak_memory_bytes=peak_memory_bytes,
        metrics={"top1": 0.1},
        latency=Latency(p50_ms=0.1, p99_ms=0.2, threads=1, machine="test"),
        golden=Golden(path=f"golden/{name}.npz", samples=1, tolerance=1e-4),
    )


def _record(model: Path, *, error: float) -> GoldenVectors:
    session = load_engine(_ENGINES[model.suffix]).load(model, threads=1)
    golden = record_golden(session, [{"image": np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)}])
    return GoldenVectors(
        inputs=golden.inputs,
        outputs={name: values + np.float32(error) for name, values in golden.outputs.items()},
    )


def _onnx_file(nodes: list[NodeProto], weights: dict[str, Array]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data
