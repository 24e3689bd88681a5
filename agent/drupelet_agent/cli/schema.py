"""The command `schema`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from drupelet_agent.cli.command import Subparsers, add_command
from drupelet_shared.exit_codes import EXIT_OK


def add(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command."""
    add_command(
        commands,
        "schema",
        _print_schema,
        summary="print the JSON Schema of the configuration",
        details=", with which editors complete and check it",
        examples=("schema > agent.schema.json",),
    )


def _print_schema(_: argparse.Namespace) -> int:
    from drupelet_shared.contract.schemas import schema_text  # noqa: PLC0415 - only this command needs it

    sys.stdout.write(schema_text(config_schema()))
    return EXIT_OK


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file."""
    from drupelet_agent.config.agent import AgentConfig  # noqa: PLC0415 - `run` imports it without OpenSSL
    from drupelet_shared.contract.schemas import toml_schema  # noqa: PLC0415

    return toml_schema(AgentConfig, title="drupelet-agent configuration")
