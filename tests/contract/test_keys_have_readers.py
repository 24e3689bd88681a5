"""Every key of the agent's configuration and of a recipe has a reader: none is only validated and documented."""

from __future__ import annotations

import ast
import typing
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from drupelet_agent.config.agent import AgentConfig
from drupelet_host.recipe.schema import Recipe
from support.source.tree import REPOSITORY


def sections(annotation: object) -> Iterator[type[BaseModel]]:
    """The pydantic classes in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from sections(argument)


def keys(section: type[BaseModel], path: str = "") -> Iterator[tuple[str, str]]:
    """Each key below a section that is no section itself: its path, and the name of its attribute."""
    for name, field in section.model_fields.items():
        below = list(sections(field.annotation))
        for one in below:
            yield from keys(one, f"{path}{name}.")
        if not below:
            yield f"{path}{name}", name


def receiver(node: ast.expr) -> str:
    """The last name of the expression whose attribute is read."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Call):
        return receiver(node.func)
    return node.id if isinstance(node, ast.Name) else ""


def reads(*folders: str) -> set[tuple[str, str]]:
    """Each attribute that the code of some folders reads, with the last name of what it is read of."""
    trees = [
        ast.parse(path.read_text(encoding="utf-8"))
        for folder in folders
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
    ]
    return {
        (receiver(node.value), node.attr)
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


AGENT_READS = reads("agent/drupelet_agent")
SECTION_READS = {name for of, name in reads("agent/drupelet_agent/config") if of == "self"}
RECIPE_READS = {name for _, name in reads("host/drupelet_host", "shared/drupelet_shared")}


@pytest.mark.parametrize(("path", "name"), list(keys(AgentConfig)), ids=lambda value: value)
def test_a_key_of_the_agents_configuration_is_read_of_its_section(path: str, name: str) -> None:
    # What holds a section is named after it, or `config`; one model's own section is `own`.
    holders = {"config", "_config", "own", *path.split(".")[:-1]}
    assert name in SECTION_READS or any((holder, name) in AGENT_READS for holder in holders)


@pytest.mark.parametrize(("path", "name"), list(keys(Recipe)), ids=lambda value: value)
def test_a_key_of_a_recipe_is_read(path: str, name: str) -> None:
    assert name in RECIPE_READS, path
