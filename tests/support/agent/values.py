"""Values that many tests need: manifests, variants, activations, with only what a test is about left to say."""

from __future__ import annotations

from drupelet_agent.store.records import Activation
from drupelet_shared.contract.messages import Plan
from drupelet_shared.package.manifest import Golden, Latency, Variant
from drupelet_shared.tensors import Datatype, TensorSpec


def make_variant(variant_id: str = "ort-fp32", *, peak_memory_bytes: int = 10_000_000) -> Variant:
    return Variant(
        id=variant_id,
        engine="onnxruntime",
        engine_min_version="1.20",
        precision="fp32",
        path=f"variants/{variant_id}/model.onnx",
        size_bytes=1000,
        peak_memory_bytes=peak_memory_bytes,
        metrics={"top1": 0.9},
        latency=Latency(p50_ms=1.0, p99_ms=2.0, threads=1, machine="host"),
        golden=Golden(path=f"golden/{variant_id}.npz", samples=1, tolerance=0.01),
    )


def make_activation(
    model: str = "digits", *, release: int = 1, digest: str | None = None, variant: str = "ort-fp32"
) -> Activation:
    return Activation(
        model=model,
        version=f"{release}.0.0",
        release=release,
        digest=digest or f"{release:064x}",
        signed_by=None,
        variant=variant,
        plan=Plan(
            engine="onnxruntime",
            threads=1,
            instances=1,
            memory_budget_bytes=0,
            p50_ms=1.0,
            p99_ms=2.0,
            footprint_bytes=50_000_000,
            reason="measured",
        ),
        inputs=(TensorSpec(name="image", datatype=Datatype.FP32, shape=(1, 1, 8, 8)),),
        outputs=(TensorSpec(name="scores", datatype=Datatype.FP32, shape=(1, 10)),),
    )
