"""The shape of the source tree: what lies where, and how large it may become."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support.source.tree import PACKAGES, REPOSITORY, package_folders, python_files

MAX_LINES = 400
MAX_MODULES = 12
MAX_TOP_MODULES = 4
# One file a command and one file a pass: these folders grow with the product.
GROWING = {"cli", "passes"}


@pytest.mark.parametrize("package", [package for package in PACKAGES if package.name != "drupelet_shared"], ids=str)
def test_few_modules_lie_at_the_top_of_a_package(package: Path) -> None:
    modules = [path.name for path in (REPOSITORY / package).glob("*.py")]

    assert len(modules) <= MAX_TOP_MODULES, modules


def test_every_folder_holds_few_modules() -> None:
    modules = {
        str(folder): [path.name for path in (REPOSITORY / folder).glob("*.py") if path.name != "__init__.py"]
        for folder in package_folders()
        if folder.name not in GROWING
    }

    assert {folder: names for folder, names in modules.items() if len(names) > MAX_MODULES} == {}


def test_every_folder_says_what_it_owns_and_what_it_must_not_import() -> None:
    docstrings = {
        str(folder): ast.get_docstring(ast.parse((REPOSITORY / folder / "__init__.py").read_text(encoding="utf-8")))
        for folder in package_folders()
    }

    assert {folder: text for folder, text in docstrings.items() if "import" not in (text or "").lower()} == {}


def test_no_file_is_long() -> None:
    long = {}
    for path in python_files():
        lines = len((REPOSITORY / path).read_text(encoding="utf-8").splitlines())
        if lines > MAX_LINES:
            long[str(path)] = lines

    assert not long


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")}

    assert all((folder / "__init__.py").is_file() for folder in folders)
