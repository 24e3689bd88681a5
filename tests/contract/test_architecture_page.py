"""The maps of the README and the architecture page name files and folders that exist, and leave none out."""

from __future__ import annotations

import re

import pytest

from support.source.tree import PACKAGES, REPOSITORY

PAGE = "shared/docs/architecture/index.md"
_PATH = re.compile(r"`((?:host|agent|shared|tests|deploy|systemd)/[\w./-]*)`")
_MAP_LINE = re.compile(r"^    ((?:host|agent|shared|tests|deploy|systemd)/[\w./]*(?:, [\w/]+)*) ", re.MULTILINE)


def _read(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def test_every_path_of_the_architecture_page_exists() -> None:
    paths = _PATH.findall(_read(PAGE))

    assert len(paths) > 50
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


def test_the_map_of_the_architecture_page_has_every_folder() -> None:
    text = _read(PAGE)
    folders = [
        f"{package}/{path.name}/"
        for package in PACKAGES
        for path in (REPOSITORY / package).iterdir()
        if (path / "__init__.py").is_file()
    ]

    assert [folder for folder in folders if f"| `{folder}` |" not in text] == []


def test_every_path_of_the_map_in_the_readme_exists() -> None:
    paths = [path for line in _MAP_LINE.findall(_read("README.md")) for path in line.split(", ")]

    assert {"host/drupelet/", "deploy/", "systemd/"} <= set(paths)
    assert [path for path in paths if not (REPOSITORY / path).is_dir()] == []


@pytest.mark.parametrize("heading", ["Follow one recipe", "Follow one package", "Follow one request"])
def test_a_walk_has_several_steps_with_a_file_each(heading: str) -> None:
    walk = _read(PAGE).split(f"## {heading}\n")[1].split("\n## ")[0]
    steps = re.split(r"^\d+\. ", walk, flags=re.MULTILINE)[1:]

    assert len(steps) >= 5
    assert all(".py`" in step for step in steps)


def test_the_readme_names_every_folder_of_tests() -> None:
    line = next(line for line in _read("README.md").splitlines() if line.startswith("    tests/ "))
    folders = {path.name for path in (REPOSITORY / "tests").iterdir() if path.is_dir() and list(path.rglob("*.py"))}

    assert [folder for folder in folders - {"support", "fakes"} if folder not in line] == []
