from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from drupelet_host.errors import RecipeError
from drupelet_host.recipe.schema import Recipe, load_recipe, parse_recipe
from drupelet_host.recipe.sources import FactorySource, IdxSource, NpzSource
from support.model.tiny_project import RECIPE_SOURCE, write_project


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("recipe")).parent


def parse(folder: Path, **sections: object) -> Recipe:
    document = tomllib.loads(RECIPE_SOURCE)
    for name, changes in sections.items():
        document[name] = {**document.get(name, {}), **changes} if isinstance(changes, dict) else changes
    return parse_recipe(document, folder=folder)


def faults(folder: Path, **sections: object) -> str:
    with pytest.raises(RecipeError) as caught:
        parse(folder, **sections)
    return str(caught.value)


def test_a_recipe_with_model_and_data_alone_is_complete(folder: Path) -> None:
    document = {key: value for key, value in tomllib.loads(RECIPE_SOURCE).items() if key in {"model", "data"}}
    recipe = parse_recipe(document, folder=folder)
    assert recipe.target.device == "raspberry_pi_4"
    assert recipe.constraints.max_metric_drop is None
    assert recipe.output.folder == folder.resolve()


def test_paths_are_relative_to_the_recipe(folder: Path) -> None:
    recipe = load_recipe(folder / "recipe.toml")
    assert recipe.model.weights == (folder / "weights.pt").resolve()
    assert recipe.output.folder == (folder / "build").resolve()


def test_all_faults_are_reported_at_once(folder: Path) -> None:
    text = faults(
        folder,
        seed=-1,
        model={"release": 0, "weights": "missing.pt"},
        constraints={"max_metric_drop": 2, "max_size": "big"},
        prune={"prune_ratio": 1.5, "iteration": 3},
        target={"device": "toaster"},
    )
    expected = [
        "8 faults",
        "seed = -1",
        "model.release = 0",
        "model.weights = 'missing.pt': there is no file",
        "constraints.max_metric_drop = 2: expected a fraction from -1 to 1; 0.01 is one point",
        "constraints.max_size = 'big'",
        "prune.prune_ratio = 1.5: input should be less than 1",
        "prune.iteration: unknown key; did you mean 'iterations'?",
        "target.device = 'toaster': expected one of raspberry_pi_4",
    ]
    assert [part for part in expected if part not in text] == []


def test_a_misspelt_section_gets_a_suggestion(folder: Path) -> None:
    assert "quantise: unknown key; did you mean 'quantize'?" in faults(folder, quantise={})


def test_a_misspelt_nested_key_gets_a_suggestion(folder: Path) -> None:
    text = faults(folder, prune={"recovery": {"epoch": 3}})
    assert "prune.recovery.epoch: unknown key; did you mean 'epochs'?" in text


def test_an_unknown_key_without_a_near_name_lists_what_is_allowed(folder: Path) -> None:
    assert "constraints.zzz: unknown key; allowed are max_metric_drop, max_size" in faults(
        folder, constraints={"zzz": 1}
    )


def test_a_missing_section_is_named(folder: Path) -> None:
    with pytest.raises(RecipeError, match="data: is required"):
        parse_recipe({"model": tomllib.loads(RECIPE_SOURCE)["model"]}, folder=folder)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("model.py", "expected 'package.module:callable' or 'file.py:callable'"),
        ("absent.py:build", "there is no file"),
        ("not a module:build", "neither a module's name nor a file"),
        ("model.py:no-name", "expected 'package.module:callable'"),
    ],
)
def test_a_malformed_factory_is_a_fault(folder: Path, factory: str, message: str) -> None:
    text = faults(folder, model={"factory": factory})
    assert f"model.factory = {factory!r}" in text
    assert message in text


def test_a_batch_other_than_one_is_a_fault(folder: Path) -> None:
    assert "the first number is the batch" in faults(folder, model={"input_shape": [4, 1, 8, 8]})


def test_data_sources_are_told_apart(folder: Path) -> None:
    (folder / "samples.npz").touch()
    (folder / "images.idx").touch()
    pair = {"images": "images.idx", "labels": "images.idx"}
    recipe = parse(folder, data={"train": "samples.npz", "validation": pair})
    assert isinstance(recipe.data.train, NpzSource)
    assert isinstance(recipe.data.validation, IdxSource)
    assert isinstance(parse(folder).data.train, FactorySource)


def test_samples_that_prove_are_given_or_held_out_but_not_both(folder: Path) -> None:
    given = {"train": "data.py:train", "validation": "data.py:validation"}
    assert parse(folder, data={**given, "hold_out": 0.5}).data.hold_out == 0.5
    assert "data.hold_out = 1: " in faults(folder, data={**given, "hold_out": 1})
    text = faults(folder, data={**given, "test": "data.py:validation", "hold_out": 0.5})
    assert "expected either test or hold_out" in text


def test_a_data_source_that_is_not_there_is_named_as_the_recipe_names_it(folder: Path) -> None:
    text = faults(folder, data={"train": "absent.npz", "validation": {"images": "a.idx", "labels": "b.idx"}})
    assert "data.train = 'absent.npz': there is no file" in text
    assert "data.validation.images = 'a.idx': there is no file" in text


def test_labels_come_from_a_file_too(folder: Path) -> None:
    (folder / "labels.txt").write_text("a\nb\nc\nd\n", encoding="utf-8")
    assert parse(folder, model={"labels": "labels.txt"}).model.labels == ("a", "b", "c", "d")


def test_an_image_that_does_not_give_the_input_shape_is_a_fault(folder: Path) -> None:
    text = faults(folder, image={"color": "rgb", "height": 8, "width": 8})
    assert "image gives [1, 3, 8, 8], model.input_shape is [1, 1, 8, 8]" in text


def test_text_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[model\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="not TOML"):
        load_recipe(path)


def test_a_recipe_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        load_recipe(tmp_path / "recipe.toml")
