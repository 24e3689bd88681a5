"""A compile of a LiteRT file: measured, checked and packed as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drupelet import compile_recipe
from drupelet_host.errors import ConstraintError, ModelError, RecipeError
from drupelet_host.evaluation.tflite import count_tflite_parameters, find_precision
from drupelet_host.recipe.schema import Recipe, parse_recipe
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.package.golden import check_golden, load_golden
from drupelet_shared.package.reading import unpack_package
from drupelet_shared.tensors import Datatype
from emulated.int8_tflite import INPUT_SHAPE as INT8_SHAPE
from emulated.int8_tflite import write_int8_convolution
from support.model.tflite_models import write_linear_tflite
from support.package.served_packages import linear_weights


def recipe(
    folder: Path,
    *,
    shape: tuple[int, ...],
    task: str,
    engines: tuple[str, ...] = ("litert",),
    constraints: dict[str, str] | None = None,
) -> Recipe:
    random = np.random.default_rng(0)
    for name in ("train", "validation"):
        np.savez(folder / f"{name}.npz", inputs=random.standard_normal((16, *shape[1:])).astype(np.float32))
    document = {
        "model": {"name": "net", "version": "1.0.0", "release": 1, "file": "net.tflite", "task": task},
        "data": {"train": "train.npz", "validation": "validation.npz"},
        "export": {"engines": list(engines)},
        "constraints": constraints or {},
    }
    return parse_recipe(document, folder=folder)


def test_a_float_file_is_packed_byte_for_byte(tmp_path: Path) -> None:
    source = write_linear_tflite(tmp_path / "net.tflite", linear_weights())
    state = compile_recipe(recipe(tmp_path, shape=(1, 1, 8, 8), task="classification"))
    assert state.package is not None
    package = unpack_package(state.package, tmp_path / "unpacked", trusted_keys=None)
    (variant,) = package.manifest.variants
    assert (variant.id, variant.engine, variant.precision) == ("litert-fp32", "litert", "fp32")
    assert (package.folder / variant.path).read_bytes() == source.read_bytes()
    assert variant.metrics == {"agreement": 1.0}
    session = load_engine("litert").load(package.folder / variant.path, threads=1)
    golden = load_golden(package.folder / variant.golden.path)
    assert check_golden(session, golden, tolerance=variant.golden.tolerance) == 0.0


def test_a_quantized_file_is_packed_as_what_it_is(tmp_path: Path) -> None:
    write_int8_convolution(tmp_path / "net.tflite")
    state = compile_recipe(recipe(tmp_path, shape=INT8_SHAPE, task="anything"))
    assert state.ranking == ("litert-static-wi8-ai8",)


def test_a_file_with_int8_tensors_at_its_ends_keeps_them(tmp_path: Path) -> None:
    write_int8_convolution(tmp_path / "net.tflite", int8_ends=True)
    made = recipe(tmp_path, shape=INT8_SHAPE, task="anything")
    random = np.random.default_rng(0)
    for name in ("train", "validation"):
        np.savez(tmp_path / f"{name}.npz", inputs=random.integers(-128, 128, (16, *INT8_SHAPE[1:])).astype(np.int8))
    state = compile_recipe(made)
    assert state.package is not None
    manifest = unpack_package(state.package, tmp_path / "unpacked", trusted_keys=None).manifest
    assert [(spec.name, spec.datatype) for spec in manifest.inputs] == [("input_int8", Datatype.INT8)]
    assert [spec.datatype for spec in manifest.outputs] == [Datatype.INT8]
    (variant,) = manifest.variants
    assert (variant.precision, variant.metrics) == ("static-wi8-ai8", {"fidelity": 1.0})


def test_a_file_that_breaks_a_constraint_is_not_packed(tmp_path: Path) -> None:
    write_linear_tflite(tmp_path / "net.tflite", linear_weights())
    made = recipe(tmp_path, shape=(1, 1, 8, 8), task="classification", constraints={"max_size": "1KB"})
    with pytest.raises(ConstraintError, match="litert-fp32"):
        compile_recipe(made)


def test_the_parameters_are_those_of_the_constants(tmp_path: Path) -> None:
    source = write_linear_tflite(tmp_path / "net.tflite", linear_weights())
    assert count_tflite_parameters(source) == linear_weights().size + 2
    assert find_precision(source) == "fp32"


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"TFL3 is not at the right place")
    with pytest.raises(ModelError, match=r"net\.tflite: not a LiteRT model"):
        find_precision(tmp_path / "net.tflite")


def test_another_engine_for_the_file_is_refused(tmp_path: Path) -> None:
    write_linear_tflite(tmp_path / "net.tflite", linear_weights())
    with pytest.raises(RecipeError, match=r"set export\.engines = \['litert'\]"):
        recipe(tmp_path, shape=(1, 1, 8, 8), task="classification", engines=("onnxruntime", "litert"))
