"""A compile for both engines."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

import pytest

from drupelet import compile_recipe
from drupelet_host.errors import ExportError
from drupelet_host.recipe.schema import Recipe, parse_recipe
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.package.golden import check_golden, load_golden
from drupelet_shared.package.reading import unpack_package
from fakes.observer import RecordingObserver
from support.model.tiny_project import RECIPE_SOURCE, write_project

INSTALLED = importlib.util.find_spec("litert_torch") is not None


def recipe(folder: Path, *engines: str, **sections: dict[str, Any]) -> Recipe:
    document = {**tomllib.loads(RECIPE_SOURCE), "export": {"engines": list(engines)}, **sections}
    return parse_recipe(document, folder=write_project(folder).parent)


@pytest.mark.skipif(not INSTALLED, reason="litert-torch is not installed: make test-litert")
def test_variants_of_both_engines_are_measured_ranked_and_packed(tmp_path: Path) -> None:
    state = compile_recipe(recipe(tmp_path / "project", "onnxruntime", "litert"))
    assert state.package is not None
    package = unpack_package(state.package, tmp_path / "unpacked", trusted_keys=None)
    variants = {variant.id: variant for variant in package.manifest.variants}
    assert {"ort-wf16", "ort-static-wi8-ai8", "litert-fp32", "litert-static-wi8-ai8"} <= variants.keys()
    times = [variant.latency.p50_ms for variant in package.manifest.variants]
    assert times == sorted(times)
    for variant in variants.values():
        assert variant.engine == ("litert" if variant.id.startswith("litert") else "onnxruntime")
        session = load_engine(variant.engine).load(package.folder / variant.path, threads=1)
        assert session.inputs == package.manifest.inputs
        assert session.outputs == package.manifest.outputs
        golden = load_golden(package.folder / variant.golden.path)
        assert check_golden(session, golden, tolerance=variant.golden.tolerance) == 0.0
        assert variant.metrics["top1"] > 0.85


@pytest.mark.skipif(not INSTALLED, reason="litert-torch is not installed: make test-litert")
def test_a_search_for_litert_alone_judges_in_litert_and_packs_no_onnx_file(tmp_path: Path) -> None:
    sections = {"constraints": {"max_size": "15KB"}, "prune": {"max_trials": 2, "recovery": {"epochs": 4}}}
    state = compile_recipe(recipe(tmp_path / "project", "litert", **sections))
    variants = {"litert-fp32", "litert-static-wi8-ai8"}
    assert state.pruning is not None
    assert len(state.pruning.candidates) > 1
    assert all(candidate.measurements.keys() == variants for candidate in state.pruning.candidates)
    assert state.artifacts.keys() == variants
    assert state.originals.keys() == state.references.keys() == {"litert"}
    assert state.measurements[state.ranking[0]].size_bytes <= 15_000


@pytest.mark.skipif(INSTALLED, reason="litert-torch is installed")
def test_a_missing_converter_is_found_before_the_work_starts(tmp_path: Path) -> None:
    observer = RecordingObserver()
    with pytest.raises(ExportError, match="litert_torch not installed"):
        compile_recipe(recipe(tmp_path / "project", "litert"), observer=observer)
    assert observer.passes == []
