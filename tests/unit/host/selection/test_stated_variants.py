"""Variants that a recipe names are made, or the compile says why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from drupelet_host.errors import ConstraintError
from drupelet_host.recipe.schema import Recipe, parse_recipe
from drupelet_host.selection.stated_variants import list_judged, list_missing, list_stated, require_stated
from drupelet_host.selection.variants import FLOAT, LITERT_FLOAT, LITERT_STATIC, NCNN_FLOAT, NCNN_STATIC, STATIC


def recipe(folder: Path, file: str, **quantize: object) -> Recipe:
    for name in (file, "data.npz"):
        (folder / name).touch()
    document = {
        "model": {"name": "digits", "version": "1.0.0", "release": 1, "file": file},
        "data": {"train": "data.npz", "validation": "data.npz"},
        "quantize": quantize,
        "export": {"engines": ["litert" if file.endswith(".tflite") else "onnxruntime"]},
    }
    return parse_recipe(document, folder=folder)


def test_a_recipe_that_leaves_the_variants_open_states_none(tmp_path: Path) -> None:
    assert list_stated(recipe(tmp_path, "m.onnx")) == ()


def test_the_variants_that_a_recipe_names_are_stated(tmp_path: Path) -> None:
    stated = recipe(tmp_path, "m.onnx", variants=["static", "float16"])
    assert list_stated(stated) == ("static", "float16")


def test_a_litert_file_is_packed_as_it_is_whatever_is_named(tmp_path: Path) -> None:
    assert list_stated(recipe(tmp_path, "m.tflite", variants=["static"])) == ()


def test_a_stated_variant_may_be_missing_as_long_as_another_is_there() -> None:
    assert list_missing(("static", "float16"), ("ort-wf16", "ort-fp32")) == ("static",)
    require_stated(("static", "float16"), ("ort-wf16",), {})
    require_stated((), ("ort-fp32",), {})


def test_stated_variants_that_are_all_missing_fail_with_the_reasons() -> None:
    dropped = {"ort-static-wi8-ai8": "found Loop", "ort-wf16": "nothing to store"}
    with pytest.raises(ConstraintError, match=r"\[static\]: none of them is left: ort-static-wi8-ai8: found Loop\."):
        require_stated(("static",), ("ort-fp32",), dropped)


def test_only_the_reasons_of_stated_variants_are_given() -> None:
    dropped = {"ort-wf16": "nothing to store"}
    with pytest.raises(ConstraintError, match=re.escape("[static]: none of them is left: no reason is known.")):
        require_stated(("static",), ("ort-fp32",), dropped)


@pytest.mark.parametrize(
    ("stated", "judged"),
    [
        ((), set()),
        (("static",), {STATIC, LITERT_STATIC, NCNN_STATIC}),
        (("float16",), {FLOAT, LITERT_FLOAT, NCNN_FLOAT}),
        (("dynamic", "float16"), {FLOAT, LITERT_FLOAT, NCNN_FLOAT}),
        (("static", "float16"), set()),
    ],
)
def test_a_search_judges_what_is_near_to_the_variants_that_a_recipe_names(
    stated: tuple[str, ...], judged: set[str]
) -> None:
    assert list_judged(stated) == judged
