"""The runs of a sweep: each combination of the axes as a recipe of its own."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from drupelet_host.errors import RecipeError
from drupelet_host.recipe.factories import FactoryRef
from drupelet_host.recipe.schema import Recipe, parse_recipe
from drupelet_host.sweep.document import Sweep
from drupelet_shared import __version__
from drupelet_shared.toml_files import read_toml


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One combination.

    Attributes:
        name: The name of its folder, such as "run-03".
        changes: The value of each axis.
        document: The recipe's document.
        base: The folder that paths in the document are relative to.
        folder: Where its package is written.
        digest: Of everything that its result depends on but the data that a callable loads.
    """

    name: str
    changes: Mapping[str, Any]
    document: Mapping[str, Any]
    base: Path
    folder: Path
    digest: str

    @property
    def label(self) -> str:
        """The changes in one line."""
        return ", ".join(f"{key}={describe_value(value)}" for key, value in self.changes.items())

    def recipe(self) -> Recipe:
        """Return the validated recipe.

        Raises:
            RecipeError: The recipe has faults.
        """
        return parse_recipe(self.document, folder=self.base, source=f"{self.name} ({self.label})")


def plan_runs(sweep: Sweep) -> tuple[Run, ...]:
    """Return every run, in the order of the axes, the last one changing first.

    Raises:
        RecipeError: The base recipe cannot be read, or a combination has faults.
    """
    assert sweep.output is not None, "load_sweep sets it"
    try:
        base = read_toml(sweep.recipe)
    except OSError as error:
        raise RecipeError(f"recipe {sweep.recipe}: {error.strerror}") from error
    except ValueError as error:
        raise RecipeError(f"recipe {sweep.recipe}: {error}") from error
    combinations = list(itertools.product(*sweep.axes.values()))
    digits = len(str(len(combinations)))
    runs = []
    for number, values in enumerate(combinations, start=1):
        name = f"run-{number:0{digits}}"
        changes = dict(zip(sweep.axes, values, strict=True))
        folder = sweep.output / "runs" / name
        document = _apply(base, changes, source=str(sweep.recipe))
        output = document.get("output", {})
        if isinstance(output, Mapping):
            # Any other value is a fault of the base recipe, which is reported below.
            document["output"] = {**output, "folder": str(folder)}
        # Tasks of a run are computed where the run is.
        document["compute"] = {"on": "local:1", "threads": sweep.compute.threads or 1}
        recipe = parse_recipe(document, folder=sweep.recipe.parent, source=f"{name} of the sweep")
        runs.append(
            Run(
                name=name,
                changes=changes,
                document=document,
                base=sweep.recipe.parent,
                folder=folder,
                digest=_digest(document, recipe),
            )
        )
    return tuple(runs)


def describe_value(value: object) -> str:
    """Return a value of an axis as a person reads it."""
    if isinstance(value, Mapping):
        return " ".join(str(each) for each in value.values())
    return str(value)


def _apply(base: Mapping[str, Any], changes: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(dict(base))
    for key, value in changes.items():
        *path, last = key.split(".")
        section = document
        for part in path:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise RecipeError(f"axes: {key}: {part} is no section of {source}")
        known = section.get(last)
        section[last] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return document


def _digest(document: Mapping[str, Any], recipe: Recipe) -> str:
    digest = hashlib.sha256(f"{__version__}\n".encode())
    digest.update(json.dumps(to_jsonable_python(document, fallback=str), sort_keys=True).encode())
    for path in sorted(set(_list_files(recipe))):
        digest.update(f"\n{path}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _list_files(value: object) -> Iterator[Path]:
    """Yield the files that a recipe names."""
    if isinstance(value, FactoryRef):
        value = value.file
    if isinstance(value, Path):
        if value.is_file():
            yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _list_files(getattr(value, name))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _list_files(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _list_files(each)
