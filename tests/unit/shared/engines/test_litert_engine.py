"""What is LiteRT's own: signatures and tensor names."""

from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_shared.engines.registry import load_engine
from drupelet_shared.errors import ModelLoadError
from support.model.tflite_models import write_add_tflite, write_linear_tflite
from support.package.served_packages import linear_weights


def test_a_file_without_a_signature_goes_by_its_tensors_names(tmp_path: Path) -> None:
    path = write_linear_tflite(tmp_path / "bare.tflite", linear_weights(), signature=False)
    session = load_engine("litert").load(path, threads=1)
    assert [spec.name for spec in (*session.inputs, *session.outputs)] == ["image", "scores"]


def test_a_file_with_several_signatures_is_refused_by_their_names(tmp_path: Path) -> None:
    path = write_add_tflite(tmp_path / "two.tflite", signatures=2)
    with pytest.raises(ModelLoadError, match=r"2 signatures \(signature_0, signature_1\): expected at most 1"):
        load_engine("litert").load(path, threads=1)


def test_a_file_whose_tensor_names_are_too_long_is_refused_by_the_name_and_the_limit(tmp_path: Path) -> None:
    name = "StatefulPartitionedCall/model/dense/BiasAdd;" * 12
    path = write_linear_tflite(tmp_path / "long.tflite", linear_weights(), signature=False, output=name)
    with pytest.raises(
        ModelLoadError, match=r"long\.tflite: the name of tensor 'Stateful.* has 528 characters: at most 256"
    ):
        load_engine("litert").load(path, threads=1)
