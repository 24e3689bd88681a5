"""Request handlers over real ONNX Runtime sessions of tiny models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from drupelet_agent.worker.handler import RequestHandler
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.package.manifest import FileEntry, ImagePreprocessing, Manifest, Target
from drupelet_shared.postprocessing.answer import Answerer
from drupelet_shared.postprocessing.specs import Anomaly, Classification, Detection, Segmentation
from drupelet_shared.tensors import Datatype, TensorSpec
from support.agent.values import make_variant

LABELS = ("ant", "bee", "cat")
_ONNX_TYPES = {
    Datatype.FP32: TensorProto.FLOAT,
    Datatype.FP16: TensorProto.FLOAT16,
    Datatype.INT64: TensorProto.INT64,
    Datatype.BOOL: TensorProto.BOOL,
    Datatype.BYTES: TensorProto.STRING,
}


def make_handler(
    folder: Path,
    nodes: Sequence[NodeProto],
    *,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    preprocessing: ImagePreprocessing | None = None,
    postprocessing: Classification | Detection | Segmentation | Anomaly | None = None,
) -> RequestHandler:
    path = folder / "model.onnx"
    graph = helper.make_graph(list(nodes), "test", [_value(s) for s in inputs], [_value(s) for s in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    variant = make_variant()
    manifest = Manifest(
        name="tiny",
        version="1.2.3",
        release=1,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        task="test",
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        preprocessing=preprocessing,
        postprocessing=postprocessing,
        target=Target(device="raspberry-pi-4", architecture="aarch64"),
        variants=(variant,),
        files=tuple(FileEntry(path=p, sha256="0" * 64, size_bytes=1) for p in (variant.path, variant.golden.path)),
    )
    answerer = None if postprocessing is None else Answerer(postprocessing, labels=LABELS)
    session = load_engine("onnxruntime").load(path, threads=1)
    return RequestHandler(
        model_name="tiny", model_version="1.2.3", manifest=manifest, session=session, answerer=answerer
    )


def judge_of_sums(folder: Path, *, threshold: float) -> RequestHandler:
    """As `adder`, and a sum above the threshold is an anomaly."""
    return adder(folder, postprocessing=Anomaly(output="sum", threshold=threshold))


def adder(folder: Path, *, postprocessing: Anomaly | None = None) -> RequestHandler:
    """`a` FP32 [n] and `b` FP32 [n] give `sum` and `product`."""
    vector = {"datatype": Datatype.FP32, "shape": (-1,)}
    return make_handler(
        folder,
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Mul", ["a", "b"], ["product"])],
        inputs=[TensorSpec(name=name, **vector) for name in ("a", "b")],
        outputs=[TensorSpec(name=name, **vector) for name in ("sum", "product")],
        postprocessing=postprocessing,
    )


def identity(folder: Path, datatype: Datatype) -> RequestHandler:
    """`x` [n] comes back as `y`."""
    return make_handler(
        folder,
        [helper.make_node("Identity", ["x"], ["y"])],
        inputs=[TensorSpec(name="x", datatype=datatype, shape=(-1,))],
        outputs=[TensorSpec(name="y", datatype=datatype, shape=(-1,))],
    )


def brightness(folder: Path) -> RequestHandler:
    """Return a classifier of RGB images of 4 x 4 whose three scores are the channels' means."""
    return make_handler(
        folder,
        [helper.make_node("ReduceMean", ["image"], ["scores"], axes=[2, 3], keepdims=0)],
        inputs=[TensorSpec(name="image", datatype=Datatype.FP32, shape=(1, 3, 4, 4))],
        outputs=[TensorSpec(name="scores", datatype=Datatype.FP32, shape=(1, 3))],
        preprocessing=ImagePreprocessing(input="image", color="rgb", height=4, width=4),
        postprocessing=Classification(output="scores", top_k=2, activation="none"),
    )


def box_finder(folder: Path, *, box: Sequence[float]) -> RequestHandler:
    """Return a detector of one box in letterboxed images of 4 x 4; its class scores are the channels' means."""
    boxes = helper.make_tensor("", TensorProto.FLOAT, [1, 1, 4], box)
    return make_handler(
        folder,
        [
            helper.make_node("ReduceMean", ["image"], ["means"], axes=[2, 3], keepdims=0),
            helper.make_node("Constant", [], ["axis"], value_ints=[1]),
            helper.make_node("Unsqueeze", ["means", "axis"], ["scores"]),
            helper.make_node("Constant", [], ["boxes"], value=boxes),
        ],
        inputs=[TensorSpec(name="image", datatype=Datatype.FP32, shape=(1, 3, 4, 4))],
        outputs=[
            TensorSpec(name="boxes", datatype=Datatype.FP32, shape=(1, 1, 4)),
            TensorSpec(name="scores", datatype=Datatype.FP32, shape=(1, 1, 3)),
        ],
        preprocessing=ImagePreprocessing(input="image", color="rgb", height=4, width=4, resize="letterbox"),
        postprocessing=Detection(form="boxes-scores", outputs=("boxes", "scores"), score_threshold=0.1),
    )


def channel_map(folder: Path) -> RequestHandler:
    """Return a segmentation model of images of 4 x 4 whose classes are the brightest channels."""
    return make_handler(
        folder,
        [helper.make_node("Identity", ["image"], ["map"])],
        inputs=[TensorSpec(name="image", datatype=Datatype.FP32, shape=(1, 3, 4, 4))],
        outputs=[TensorSpec(name="map", datatype=Datatype.FP32, shape=(1, 3, 4, 4))],
        preprocessing=ImagePreprocessing(input="image", color="rgb", height=4, width=4),
        postprocessing=Segmentation(output="map"),
    )


def _value(spec: TensorSpec) -> ValueInfoProto:
    shape = [None if size < 0 else size for size in spec.shape]
    return helper.make_tensor_value_info(spec.name, _ONNX_TYPES[spec.datatype], shape)
