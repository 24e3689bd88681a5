"""What is published about the code is what the code says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from docs_generator.errors_page import error_classes, read_advice
from docs_generator.outputs import DOCS, ROOT, make_outputs
from drupelet_agent.cli.schema import config_schema
from drupelet_agent.config.agent import AgentConfig
from drupelet_host.cli.schema import SCHEMAS, make_schema
from drupelet_host.recipe.schema import parse_recipe
from drupelet_shared.errors import DrupeletError
from support.model.tiny_project import RECIPE_SOURCE
from support.package.served_packages import make_keys, make_package

RECIPES = sorted((ROOT / "host/examples").glob("*/recipe.toml"))
CONTRACT = (DOCS / "mqtt-contract.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outputs() -> dict[Path, str]:
    return make_outputs()


def validator(name: str) -> Draft202012Validator:
    schema = config_schema() if name == "agent" else make_schema(name)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def faults(name: str, document: object) -> list[str]:
    return [error.message for error in validator(name).iter_errors(document)]


def definitions(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"document": schema, **{name: value for name, value in schema.get("$defs", {}).items() if value}}


def test_every_generated_file_is_what_the_code_gives(outputs: dict[Path, str]) -> None:
    different = [
        str(path.relative_to(ROOT))
        for path, text in outputs.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    assert different == [], "make reference"


def test_nothing_else_lies_among_the_generated_files(outputs: dict[Path, str]) -> None:
    folders = {path.parent for path in outputs}
    assert {path for folder in folders for path in folder.iterdir()} - set(outputs) == {DOCS / "reference/index.md"}


@pytest.mark.parametrize("name", [*SCHEMAS, "agent"])
def test_every_key_of_a_document_has_a_meaning(name: str) -> None:
    schema = config_schema() if name == "agent" else make_schema(name)
    silent = [
        f"{where}.{key}"
        for where, part in definitions(schema).items()
        for key, value in part.get("properties", {}).items()
        if not value.get("description")
    ]
    assert silent == [], "give them a line under Attributes: in the class's docstring"
    assert all(part["description"] for where, part in definitions(schema).items() if where != "document")


def test_every_error_code_has_advice_and_no_advice_is_for_a_code_that_is_gone() -> None:
    assert read_advice().keys() == {error.code for error in error_classes()}
    assert all(error.code != DrupeletError.code for error in error_classes() if error is not DrupeletError)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.name)
def test_the_schema_takes_the_recipes_of_the_examples(path: Path) -> None:
    assert faults("recipe", tomllib.loads(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("seed = 3", "sed = 3"),
        ("release = 5", "release = 0"),
        ("release = 5", "release = 'five'"),
        ("[data]", "[constraints]\nmax_size = '12 parsecs'\n[data]"),
        ("[data]", "[constraints]\nmax_metric_drop = 1.5\n[data]"),
        ("[data]", "[constraints]\nmax_metric_drop = -1.5\n[data]"),
        ("[data]", "[export]\nengines = []\n[data]"),
        ("[data]", "[target]\ndevice = 'toaster'\n[data]"),
    ],
)
def test_the_schema_refuses_what_the_compiler_refuses(tmp_path: Path, line: str, change: str) -> None:
    for name in ("model.py", "data.py", "weights.pt"):
        (tmp_path / name).touch()
    source = re.sub(r"\[constraints\][^\[]*", "", RECIPE_SOURCE)
    parse_recipe(tomllib.loads(source), folder=tmp_path)
    assert faults("recipe", tomllib.loads(source)) == []
    assert line in source
    broken = tomllib.loads(source.replace(line, change, 1))
    with pytest.raises(DrupeletError):
        parse_recipe(broken, folder=tmp_path)
    assert faults("recipe", broken) != []


def test_the_schema_takes_a_drop_below_zero_as_the_compiler_does(tmp_path: Path) -> None:
    for name in ("model.py", "data.py", "weights.pt"):
        (tmp_path / name).touch()
    document = tomllib.loads(RECIPE_SOURCE)
    document["constraints"] = {"max_metric_drop": -0.01}
    assert parse_recipe(document, folder=tmp_path).constraints.max_metric_drop == -0.01
    assert faults("recipe", document) == []


def test_the_schema_takes_every_form_of_data_and_of_labels() -> None:
    document = tomllib.loads(RECIPE_SOURCE)
    for source in ("digits.npz", "images/train", "package.module:load", {"images": "a.idx", "labels": "b.idx"}):
        document["data"]["train"] = source
        assert faults("recipe", document) == [], source
    document["model"]["labels"] = "labels.txt"
    assert faults("recipe", document) == []
    document["data"]["train"] = {"images": "a.idx"}
    assert faults("recipe", document) != []


def test_the_schema_takes_the_configuration_that_is_installed_and_refuses_an_unknown_key() -> None:
    document = tomllib.loads((ROOT / "systemd/agent.toml").read_text(encoding="utf-8"))
    AgentConfig.model_validate(document)
    assert faults("agent", document) == []
    document["limits"]["memroy"] = 1
    assert faults("agent", document) != []


def test_the_schema_takes_the_manifest_of_a_package(tmp_path: Path) -> None:
    package = make_package(tmp_path, make_keys(tmp_path))
    with zipfile.ZipFile(package) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert faults("manifest", manifest) == []
    assert faults("manifest", {**manifest, "release": 0}) != []


@pytest.mark.parametrize(("kind", "text"), re.findall(r"```json ([A-Z]\w+)\n(.*?)```", CONTRACT, re.DOTALL))
def test_the_schema_takes_the_messages_that_the_contract_shows(kind: str, text: str) -> None:
    schema = make_schema("messages")
    whole = {**schema["$defs"][kind], "$defs": schema["$defs"]}
    assert [error.message for error in Draft202012Validator(whole).iter_errors(json.loads(text))] == []


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed: apt install groff")
@pytest.mark.parametrize("name", ["drupelet", "drupelet-agent"])
def test_a_man_page_is_formatted_without_a_warning(name: str) -> None:
    page = DOCS / f"man/{name}.1"
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", page], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    # Bold is a letter struck twice.
    assert "EXIT STATUS" in re.sub(".\b", "", done.stdout)
