"""Every key of the agent's configuration and of a recipe has a reader: none is only validated and documented."""

from __future__ import annotations

import ast
import typing
from collections.abc import Iterator

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


def test_every_key_of_the_agents_configuration_is_read_of_its_section() -> None:
    agent_reads = reads("agent/drupelet_agent")
    section_reads = {name for of, name in reads("agent/drupelet_agent/config") if of == "self"}
    unread = [
        path
        for path, name in keys(AgentConfig)
        # What holds a section is named after it, or `config`; one model's own section is `own`.
        if name not in section_reads
        and not any((holder, name) in agent_reads for holder in ("config", "_config", "own", *path.split(".")[:-1]))
    ]

    assert unread == []


def test_every_key_of_a_recipe_is_read() -> None:
    recipe_reads = {name for _, name in reads("host/drupelet_host", "shared/drupelet_shared")}

    assert [path for path, name in keys(Recipe) if name not in recipe_reads] == []
