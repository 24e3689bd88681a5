"""Files with one odd trait each, compiled: what cannot be done is left out by name, the rest is packed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from drupelet_host.cli.compile import compile_command
from drupelet_host.compiler.compile import compile_recipe
from drupelet_host.errors import ConstraintError, ModelError, RecipeError, StorageError
from drupelet_host.recipe.schema import Recipe, parse_recipe
from fakes.observer import RecordingObserver
from support.model import branching_networks, odd_networks
from support.model.compiled import compile_and_verify

STATIC, DYNAMIC, MIXED, HALF = "ort-static-wi8-ai8", "ort-dynamic-wi8", "ort-mixed-wi8-ai8", "ort-wf16"
DATA = """
import numpy as np
from support.model.odd_parts import feeds


def vectors():
    return feeds([1, 64], count=16)


def more_vectors():
    return [{"x": sample["x"][:, ::-1]} for sample in feeds([1, 64], count=12)]


def images():
    return feeds([1, 3, 16, 16], count=12)


def more_images():
    return [{"x": sample["x"][..., ::-1]} for sample in feeds([1, 3, 16, 16], count=8)]


def scaled():
    return [{"x": sample["x"], "gain": np.float32(2)} for sample in vectors()]


def more_scaled():
    return [{"x": sample["x"], "gain": np.float32(3)} for sample in more_vectors()]
"""
NETWORK = """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(8, 32), torch.nn.Linear(32, 4)
        self.act = lambda x: x.relu()

    def forward(self, x):
        return self.second(self.act(self.first(x)))


def net():
    torch.manual_seed(0)
    return Net()


def train():
    return torch.randn(64, 8, generator=torch.Generator().manual_seed(1))


def validation():
    return torch.randn(32, 8, generator=torch.Generator().manual_seed(2))
"""
VECTORS = {"train": "data.py:vectors", "validation": "data.py:more_vectors"}


def document(folder: Path, *, data: dict[str, str] | None = None, **sections: dict[str, Any]) -> dict[str, Any]:
    (folder / "data.py").write_text(DATA, encoding="utf-8")
    return {
        "model": {"name": "odd", "version": "1", "release": 1, "file": "model.onnx", "task": "odd"},
        "data": data or VECTORS,
        "output": {"folder": "out"},
        "quantize": {"method": "minmax", **sections.pop("quantize", {})},
        **sections,
    }


def recipe(folder: Path, **sections: Any) -> Recipe:  # noqa: ANN401 - sections of a recipe
    return parse_recipe(document(folder, **sections), folder=folder)


def test_a_variant_below_the_floor_is_not_packed_and_named(tmp_path: Path) -> None:
    odd_networks.unlike_merge(tmp_path / "model.onnx")
    asked = {"variants": ["static", "dynamic"]}
    compiled = compile_and_verify(recipe(tmp_path, quantize=asked), tmp_path / "unpacked")
    state = compiled.state
    assert STATIC in state.ranking
    assert DYNAMIC not in state.ranking
    assert state.measurements[DYNAMIC].metric < 0.5
    reason = state.dropped[DYNAMIC]
    assert "weakest: output 'y'" in reason
    assert "below 0.95 nothing is packed; constraints.metric_floor = 0.95 sets that" in reason
    report = json.loads((compiled.package.folder / "report.json").read_text(encoding="utf-8"))
    assert {row["variant"]: row["reason"] for row in report["dropped"]}[DYNAMIC] == reason
    assert "Not in the package" in (compiled.package.folder / "report.html").read_text(encoding="utf-8")


def test_the_floor_is_the_persons_to_set(tmp_path: Path) -> None:
    odd_networks.unlike_merge(tmp_path / "model.onnx")
    asked = {"variants": ["dynamic"]}
    state = compile_recipe(recipe(tmp_path, quantize=asked, constraints={"metric_floor": 0.0}))
    assert DYNAMIC in state.ranking


def test_scores_beside_boxes_keep_their_int8(tmp_path: Path) -> None:
    odd_networks.detector(tmp_path / "model.onnx")
    data = {"train": "data.py:images", "validation": "data.py:more_images"}
    state = compile_recipe(recipe(tmp_path, data=data, quantize={"variants": ["static"]}))
    assert state.measurements[STATIC].metric > 0.97
    assert state.measurements[STATIC].weakest is not None
    assert "channels" in state.measurements[STATIC].weakest


def test_inputs_and_outputs_without_dimensions_go_through_the_device_s_codec(tmp_path: Path) -> None:
    odd_networks.scalar_input(tmp_path / "model.onnx")
    data = {"train": "data.py:scaled", "validation": "data.py:more_scaled"}
    compiled = compile_and_verify(recipe(tmp_path, data=data, quantize={"variants": ["static"]}), tmp_path / "unpacked")
    assert [spec.shape for spec in compiled.manifest.inputs] == [(1, 64), ()]
    assert [spec.shape for spec in compiled.manifest.outputs] == [(1, 8), ()]


def test_a_stated_variant_that_cannot_be_made_fails_the_compile(tmp_path: Path) -> None:
    branching_networks.loop(tmp_path / "model.onnx")
    with pytest.raises(ConstraintError, match=r"quantize\.variants = \[static\]: none of them is left: .*Loop"):
        compile_recipe(recipe(tmp_path, quantize={"variants": ["static"]}))
    assert not list((tmp_path / "out").glob("*.drupe"))


def test_the_command_says_last_what_the_package_lacks_and_again_from_the_cache(tmp_path: Path) -> None:
    branching_networks.loop(tmp_path / "model.onnx")
    (tmp_path / "data.py").write_text(DATA, encoding="utf-8")
    (tmp_path / "recipe.toml").write_text(
        '[model]\nname = "odd"\nversion = "1"\nrelease = 1\nfile = "model.onnx"\ntask = "odd"\n'
        '[data]\ntrain = "data.py:vectors"\nvalidation = "data.py:more_vectors"\n'
        '[quantize]\nmethod = "minmax"\nvariants = ["static", "float16"]\n',
        encoding="utf-8",
    )
    arguments = [str(tmp_path / "recipe.toml"), "--cache", str(tmp_path / "cache"), "--output", str(tmp_path / "out")]
    for again in (False, True):
        done = CliRunner().invoke(compile_command, arguments, catch_exceptions=False)
        assert done.exit_code == 0
        lines = done.stdout.strip().splitlines()
        assert lines[-1].startswith("of quantize.variants the package lacks: static; it holds ")
        assert any(line.startswith(f"NOT PACKED {STATIC}: ") and "Loop" in line for line in lines)
        told = [line for line in done.stderr.splitlines() if f"no {STATIC}: " in line]
        assert len(told) == 1, again
        assert ("taken from the cache" in done.stderr) is again


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            odd_networks.noisy,
            r"model\.onnx: gives other answers .*node 'noise' \(RandomNormalLike\) draws random numbers",
        ),
        (odd_networks.training_dropout, r"node 'd' \(Dropout\) draws random numbers"),
    ],
)
def test_what_no_compile_can_judge_is_refused_before_the_work(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    make(tmp_path / "model.onnx")
    observer = RecordingObserver()
    with pytest.raises(ModelError, match=message):
        compile_recipe(recipe(tmp_path), observer=observer)
    assert observer.passes == []


def test_answers_that_are_partly_nan_compile(tmp_path: Path) -> None:
    odd_networks.logarithm(tmp_path / "model.onnx")
    state = compile_recipe(recipe(tmp_path, quantize={"variants": ["float16"]}))
    assert state.reference.metric == 1.0
    assert state.measurements["ort-fp32"].metric > 0.999


def test_a_pattern_that_matches_no_layer_is_refused_before_the_work(tmp_path: Path) -> None:
    odd_networks.one_head(tmp_path / "model.onnx")
    observer = RecordingObserver()
    with pytest.raises(RecipeError, match=r"quantize\.keep_float: head\.\* match none of the layers h, y"):
        compile_recipe(recipe(tmp_path, quantize={"keep_float": ["h", "head.*"]}), observer=observer)
    assert observer.passes == []


def test_an_output_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    odd_networks.one_head(tmp_path / "model.onnx")
    (tmp_path / "out").write_text("a file")
    observer = RecordingObserver()
    with pytest.raises(StorageError, match=r"output folder .* cannot be written"):
        compile_recipe(recipe(tmp_path), observer=observer)
    assert observer.passes == []


def test_samples_in_two_parts_are_told_first_and_in_the_report(tmp_path: Path) -> None:
    odd_networks.one_head(tmp_path / "model.onnx")
    observer = RecordingObserver()
    data = {"train": "data.py:vectors", "validation": "data.py:vectors"}
    state = compile_recipe(
        recipe(tmp_path, data=data, quantize={"variants": ["float16"]}), observer=observer, cache=tmp_path / "cache"
    )
    note = "16 of 16 validation samples are among the train samples"
    assert observer.decisions[0].startswith(note)
    assert state.package is not None
    report = json.loads(state.package.with_name(f"{state.package.stem}.report.json").read_text(encoding="utf-8"))
    assert report["notes"][0].startswith(note)


def test_a_network_with_a_lambda_in_the_file_of_its_data_compiles_and_is_not_cached(tmp_path: Path) -> None:
    (tmp_path / "all.py").write_text(NETWORK, encoding="utf-8")
    observer = RecordingObserver()
    document = {
        "model": {
            "name": "odd",
            "version": "1",
            "release": 1,
            "task": "odd",
            "factory": "all.py:net",
            "input_shape": [1, 8],
        },
        "data": {"train": "all.py:train", "validation": "all.py:validation"},
        "prune": {"prune_ratio": 0.5, "iterations": 1, "recovery": {"epochs": 1}},
        "quantize": {"method": "minmax", "variants": ["float16"]},
        "constraints": {"max_metric_drop": 1.0},
        "output": {"folder": "out"},
    }
    state = compile_recipe(parse_recipe(document, folder=tmp_path), observer=observer, cache=tmp_path / "cache")
    assert state.package is not None
    assert any(line.startswith("prune is not cached: the model cannot be pickled") for line in observer.decisions)
