"""The files of a variant: one for most engines, a pair for ncnn."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from drupelet_shared.package.manifest import Variant


def document(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - a manifest's values
    return {
        "id": "ort-fp32",
        "engine": "onnxruntime",
        "engine_min_version": "1.20",
        "precision": "fp32",
        "path": "variants/a/model.onnx",
        "size_bytes": 10,
        "peak_memory_bytes": 0,
        "metrics": {},
        "latency": {"p50_ms": 1.0, "p99_ms": 2.0, "threads": 1, "machine": "test"},
        "golden": {"path": "golden/a.npz", "samples": 1, "tolerance": 0.001},
        **changes,
    }


def test_a_variant_of_one_file_is_written_as_earlier_readers_know_it() -> None:
    variant = Variant.model_validate(document())
    assert variant.model_dump(mode="json") == document()
    assert variant.files == ("variants/a/model.onnx",)


def test_a_variant_for_ncnn_is_a_pair() -> None:
    pair = document(engine="ncnn", path="variants/a/model.param", weights_path="variants/a/model.bin")
    variant = Variant.model_validate(pair)
    assert variant.model_dump(mode="json") == pair
    assert variant.files == ("variants/a/model.param", "variants/a/model.bin")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"engine": "ncnn"}, r"must end in '\.param'"),
        ({"engine": "ncnn", "path": "variants/a/model.param"}, "expected 'variants/a/model.bin'"),
        (
            {"engine": "ncnn", "path": "variants/a/model.param", "weights_path": "variants/b/model.bin"},
            "expected 'variants/a/model.bin'",
        ),
        ({"weights_path": "variants/a/model.bin"}, "expected None"),
    ],
    ids=["not-a-graph", "no-weights", "other-weights", "weights-of-onnx"],
)
def test_a_variant_with_the_wrong_files_is_refused(changes: dict[str, str], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Variant.model_validate(document(**changes))
