"""What shells and editors ask the command for: a completion script, and the schema of the configuration."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHELLS = ("bash", "zsh")


def completion_script(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> str:
    """Return the script that lets a shell complete the command."""
    import shtab  # noqa: PLC0415 - the running agent does without

    for action in _actions(parser):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined] # where shtab looks for it
    return str(shtab.complete(parser, arguments.shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to its own arguments
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for command in action.choices.values():
                yield from _actions(command)


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file."""
    from drupelet_agent.config.sections import AgentConfig  # noqa: PLC0415 - the running agent imports it in its own way
    from drupelet_shared.contract.schemas import toml_schema  # noqa: PLC0415

    return toml_schema(AgentConfig, title="drupelet-agent configuration")


def config_schema_text(_: argparse.ArgumentParser, __: argparse.Namespace) -> str:
    """Return the same as a document."""
    from drupelet_shared.contract.schemas import schema_text  # noqa: PLC0415 - as above

    return schema_text(config_schema())
