"""A compile for ONNX Runtime and ncnn."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from drupelet import compile_recipe
from drupelet_host.errors import RecipeError
from drupelet_host.export.onnx import export_onnx
from drupelet_host.recipe.schema import Recipe, parse_recipe
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.package.golden import check_golden, load_golden
from drupelet_shared.package.reading import unpack_package
from fakes.observer import RecordingObserver
from support.model.file_project import file_recipe, write_files
from support.model.tiny_project import INPUT_SHAPE, RECIPE_SOURCE, trained, write_project

SPECTRUM = """
import torch
from torch import nn


class Spectrum(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 8)

    def forward(self, x):
        return self.convolution(x).flatten(1) + torch.fft.rfft(x.flatten(1)).abs().mean()


def spectrum():
    return Spectrum()
"""


def recipe(folder: Path, *engines: str, **sections: dict[str, Any]) -> Recipe:
    document = {**tomllib.loads(RECIPE_SOURCE), "export": {"engines": list(engines)}, **sections}
    return parse_recipe(document, folder=write_project(folder).parent)


def test_variants_of_both_engines_are_measured_ranked_and_packed(tmp_path: Path) -> None:
    state = compile_recipe(recipe(tmp_path / "project", "onnxruntime", "ncnn"))
    assert state.package is not None
    package = unpack_package(state.package, tmp_path / "unpacked", trusted_keys=None)
    variants = {variant.id: variant for variant in package.manifest.variants}
    assert {"ncnn-wf16", "ncnn-static-wi8-ai8"} <= variants.keys()
    for variant in variants.values():
        assert variant.engine == ("ncnn" if variant.id.startswith("ncnn") else "onnxruntime")
        session = load_engine(variant.engine).load(package.folder / variant.path, threads=1)
        assert session.inputs == package.manifest.inputs
        assert session.outputs == package.manifest.outputs
        golden = load_golden(package.folder / variant.golden.path)
        assert check_golden(session, golden, tolerance=variant.golden.tolerance) == 0.0
        assert variant.metrics["top1"] > 0.85
        assert variant.size_bytes == sum((package.folder / path).stat().st_size for path in variant.files)


def test_a_search_for_ncnn_alone_judges_in_ncnn(tmp_path: Path) -> None:
    sections = {"constraints": {"max_size": "12KB"}, "prune": {"max_trials": 2, "recovery": {"epochs": 4}}}
    state = compile_recipe(recipe(tmp_path / "project", "ncnn", **sections))
    assert state.pruning is not None
    assert all(
        candidate.measurements.keys() == {"ncnn-fp32", "ncnn-static-wi8-ai8"} for candidate in state.pruning.candidates
    )
    assert state.originals.keys() == state.references.keys() == {"ncnn"}
    assert state.measurements[state.ranking[0]].size_bytes <= 12_000


def test_a_compile_goes_on_without_ncnn_where_ncnn_lacks_an_operator(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project").parent
    (project / "spectrum.py").write_text(SPECTRUM, encoding="utf-8")
    document = tomllib.loads(RECIPE_SOURCE)
    document["model"] = {**document["model"], "factory": "spectrum.py:spectrum"}
    document["model"].pop("weights", None)
    document["data"] = {"train": "data.py:unlabelled", "validation": "data.py:unlabelled"}
    document["prune"] = {"prune_ratio": 0.0}
    document["constraints"] = {}
    document["export"] = {"engines": ["onnxruntime", "ncnn"]}
    observer = RecordingObserver()
    state = compile_recipe(parse_recipe(document, folder=project), observer=observer)
    assert state.originals.keys() == {"onnxruntime"}
    assert any("no variants for ncnn" in text and "ncnn has no operator for" in text for text in observer.decisions)


def test_an_onnx_file_gets_ncnn_variants(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project").parent
    export_onnx(trained().model, INPUT_SHAPE, project / "net.onnx")
    document = {
        "model": {"name": "net", "version": "1.0.0", "release": 1, "file": "net.onnx"},
        "data": {"train": "data.py:unlabelled", "validation": "data.py:unlabelled"},
        "export": {"engines": ["onnxruntime", "ncnn"]},
    }
    state = compile_recipe(parse_recipe(document, folder=project))
    assert {"ncnn-fp32", "ncnn-static-wi8-ai8"} <= state.artifacts.keys()
    assert state.measurements["ncnn-static-wi8-ai8"].metric > 0.9


def test_an_onnx_file_of_variable_size_is_compiled_for_onnx_runtime_alone(tmp_path: Path) -> None:
    observer = RecordingObserver()
    recipe = file_recipe(write_files(tmp_path), export={"engines": ["onnxruntime", "ncnn"]})
    state = compile_recipe(recipe, observer=observer)
    assert state.originals.keys() == {"onnxruntime"}
    assert any("no variants for ncnn" in text and "of shape 1x3x?x?" in text for text in observer.decisions)


def test_an_onnx_file_for_ncnn_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"export\.engines lacks 'onnxruntime'"):
        file_recipe(write_files(tmp_path), export={"engines": ["ncnn"]})
