"""The configuration of a pass is what it reads from the recipe: nothing else changes its key in the cache."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from drupelet_host.compiler.caching.cache import PassCache
from drupelet_host.compiler.registry import PASSES, UNCACHED, make_pass, passes_of
from drupelet_host.recipe.schema import Recipe, parse_recipe
from support.model.tiny_project import RECIPE_SOURCE, write_project

# For each change of the recipe, the passes that read what changed.
READERS: dict[tuple[str, str, Any], set[str]] = {
    ("constraints", "max_size", "10KB"): set(),
    ("constraints", "max_latency", 0.5): set(),
    ("target", "latency", "workstation"): {"mix_precision", "quantize_ncnn", "evaluate_variants"},
    ("constraints", "max_metric_drop", 0.2): {"prune", "quantize_aware", "mix_precision", "sparsify", "quantize_ncnn"},
    ("quantize", "variants", ("static", "mixed")): {"quantize_aware", "quantize_ncnn"},
    ("quantize", "keep_float", ("*stem*",)): {"quantize_static"},
    ("quantize", "trial_samples", 64): {"quantize_static", "mix_precision", "quantize_ncnn"},
    ("quantize", "method", "mse"): {"quantize_static", "quantize_aware", "quantize_ncnn"},
    ("quantize", "max_minutes", 3): {"quantize_static", "mix_precision", "quantize_ncnn"},
    ("prune", "iterations", 7): {"prune", "sparsify"},
    ("prune", "max_trials", 3): set(),
    ("prune", "max_minutes", 3): set(),
    ("prune", "importance", "l1"): {"importance"},
    ("prune", "sparsity", 0.25): {"sparsify"},
    ("sensitivity", "samples", 33): {"importance", "sensitivity"},
}
# With a search in place of a stated ratio.
SEARCH_READERS: dict[tuple[str, str, Any], set[str]] = {
    ("constraints", "max_size", "10KB"): {"prune"},
    ("constraints", "max_latency", 0.5): {"prune"},
    ("target", "latency", "workstation"): {"prune", "mix_precision", "quantize_ncnn", "evaluate_variants"},
    ("quantize", "method", "mse"): {"prune", "quantize_static", "quantize_aware", "quantize_ncnn"},
    ("prune", "iterations", 7): {"sparsify"},
    ("prune", "max_trials", 3): {"prune"},
    ("prune", "max_minutes", 3): {"prune"},
}


def recipe(folder: Path, *changes: tuple[str, str, Any], ratio: float | None) -> Recipe:
    document = tomllib.loads(RECIPE_SOURCE)
    document.pop("constraints", None)
    document["export"] = {"engines": ["onnxruntime", "ncnn"]}
    document["prune"] = {"sparsity": 0.5, **({} if ratio is None else {"prune_ratio": ratio})}
    for section, key, value in changes:
        document[section] = {**document.get(section, {}), key: value}
    return parse_recipe(document, folder=folder)


def keys(made: Recipe, folder: Path) -> dict[str, str]:
    cache = PassCache(folder)
    return {name: cache.key(make_pass(name, made), "") for name in passes_of(made) if name not in UNCACHED}


@pytest.mark.parametrize("change", READERS, ids=lambda change: ".".join(change[:2]))
def test_a_change_repeats_the_passes_that_read_it_and_no_other(tmp_path: Path, change: tuple[str, str, Any]) -> None:
    folder = write_project(tmp_path / "project").parent
    before, after = (keys(recipe(folder, *changes, ratio=0.5), tmp_path / "cache") for changes in ((), (change,)))
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert changed == READERS[change]


@pytest.mark.parametrize("change", SEARCH_READERS, ids=lambda change: ".".join(change[:2]))
def test_a_search_reads_the_constraints_that_a_stated_ratio_does_not(
    tmp_path: Path, change: tuple[str, str, Any]
) -> None:
    folder = write_project(tmp_path / "project").parent
    before, after = (keys(recipe(folder, *changes, ratio=None), tmp_path / "cache") for changes in ((), (change,)))
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert changed == SEARCH_READERS[change]


def test_no_configuration_can_be_changed(tmp_path: Path) -> None:
    made = recipe(write_project(tmp_path / "project").parent, ratio=0.5)
    for name in passes_of(made):
        config = make_pass(name, made).config
        assert config.model_config.get("frozen"), name


def test_every_registered_pass_has_its_registered_name(tmp_path: Path) -> None:
    made = recipe(write_project(tmp_path / "project").parent, ratio=0.5)
    assert set(passes_of(made)) < set(PASSES)
    for name in passes_of(made):
        assert make_pass(name, made).name == name
