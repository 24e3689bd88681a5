from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from drupelet_host.errors import DataError, ModelError
from drupelet_host.recipe.factories import call_factory, load_factory, parse_factory
from drupelet_host.recipe.model import ModelSection
from drupelet_host.recipe.schema import load_recipe
from drupelet_host.recipe.user_folders import program_path
from drupelet_host.torch_models.loading import check_runs, load_model, load_weights
from drupelet_shared.tensors import Datatype, TensorSpec
from support.model.tiny_project import INPUT_SHAPE, trained, write_project


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("factories"))


def section(recipe: Path, **changes: object) -> ModelSection:
    values = load_recipe(recipe).model.model_dump()
    if isinstance(factory := changes.get("factory"), str):
        changes["factory"] = parse_factory(factory, folder=recipe.parent)
    return ModelSection.model_validate({**values, **changes}, context={"folder": recipe.parent})


def test_an_importable_module_gives_its_callable() -> None:
    assert load_factory(parse_factory("pathlib:Path", folder=Path()), error=ModelError) is Path


def test_a_callable_that_is_missing_is_named_with_those_there_are(recipe: Path) -> None:
    ref = parse_factory("model.py:make", folder=recipe.parent)
    with pytest.raises(ModelError, match=r"model\.py:make: there is no such callable; the module has TinyNet, build"):
        load_factory(ref, error=ModelError)


def test_a_module_that_fails_to_import_is_the_callers_kind_of_error() -> None:
    with pytest.raises(DataError, match="importing it failed: ModuleNotFoundError"):
        load_factory(parse_factory("no_such_module:x", folder=Path()), error=DataError)


def test_a_factory_that_fails_says_how(recipe: Path) -> None:
    (recipe.parent / "broken.py").write_text("def build():\n    return 1 / 0\n", encoding="utf-8")
    with pytest.raises(
        ModelError, match=r"calling it failed: ZeroDivisionError: division by zero \(broken\.py, line 2, in build\)"
    ):
        call_factory(parse_factory("broken.py:build", folder=recipe.parent), error=ModelError)


def test_what_a_factory_made_imports_a_neighbour_when_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "__init__.py").write_text("SIZE = 7\n")
    (tmp_path / "make.py").write_text(
        "def make():\n    def call():\n        from package_of_mine import SIZE\n        return SIZE\n    return call\n"
    )

    assert call_factory(parse_factory("make.py:make", folder=tmp_path), error=ModelError)() == 7


def test_network_and_data_in_one_file_share_their_classes(recipe: Path) -> None:
    source = (
        "import torch\n\n\nclass Net(torch.nn.Linear):\n    pass\n\n\n"
        "def net():\n    return Net(2, 2)\n\n\ndef data():\n    return Net\n"
    )
    path = recipe.parent / "both.py"
    path.write_text(source, encoding="utf-8")
    net, kind = (
        call_factory(parse_factory(f"both.py:{name}", folder=recipe.parent), error=ModelError)
        for name in ("net", "data")
    )
    assert type(net) is kind
    assert isinstance(pickle.loads(pickle.dumps(net)), kind)
    path.write_text(source.replace("2, 2", "3, 3"), encoding="utf-8")
    assert call_factory(parse_factory("both.py:net", folder=recipe.parent), error=ModelError).in_features == 3


def test_the_model_of_a_recipe_has_its_weights(recipe: Path) -> None:
    model = load_model(load_recipe(recipe).model)
    assert not model.training
    assert trained().evaluate(model) == trained().evaluate(trained().model)


def test_a_factory_that_makes_no_module_is_refused(recipe: Path) -> None:
    with pytest.raises(ModelError, match=r"returned a str: expected a torch\.nn\.Module"):
        load_model(section(recipe, factory="model.py:not_a_model"))


def test_weights_of_another_model_are_refused(recipe: Path) -> None:
    with pytest.raises(ModelError, match=r"recipe\.toml do not fit the model"):
        load_weights(trained().model, recipe)


def _image(*shape: int) -> TensorSpec:
    return TensorSpec(name="input", datatype=Datatype.FP32, shape=shape)


def test_an_input_shape_that_the_model_does_not_take_is_refused() -> None:
    with pytest.raises(ModelError, match=r"does not take an input of shape \[1, 3, 8, 8\]"):
        check_runs(trained().model, [_image(1, 3, 8, 8)])
    assert check_runs(trained().model, [_image(*INPUT_SHAPE)]) == {"output": (1, 4)}


def test_a_file_imports_its_neighbours_and_those_of_two_projects_are_not_mixed(tmp_path: Path) -> None:
    found = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "sizes.py").write_text(f"WIDTH = {number}\n")
        (folder / "late.py").write_text(f"HEIGHT = 10 * {number}\n")
        (folder / "data.py").write_text(
            "from sizes import WIDTH\n\ndef load():\n    from late import HEIGHT\n    return WIDTH, HEIGHT\n"
        )
        found.append(call_factory(parse_factory("data.py:load", folder=folder), error=DataError))
    assert found == [(1, 10), (2, 20)]
    assert not [path for path in program_path() if path.startswith(str(tmp_path))]
