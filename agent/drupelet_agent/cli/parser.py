"""The `drupelet-agent` command line: its parser and the function that runs it.

Each command imports what it needs when it runs, and `run` imports the rest without the modules that serving never uses:
this keeps the memory of the running agent small.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from drupelet_agent import __version__
from drupelet_agent.app.slim_imports import lean_imports
from drupelet_agent.cli import (
    check,
    completion,
    doctor,
    install,
    list_models,
    plan,
    rollback,
    run,
    schema,
    tune,
)
from drupelet_agent.cli.command import EXIT_FAILED, EXIT_INTERRUPTED, Command
from drupelet_shared.errors import DrupeletError

_DEFAULT_CONFIG = Path("/etc/drupelet/agent.toml")
_COMMANDS = (run, install, list_models, plan, tune, check, rollback, doctor, schema)


def main(argv: list[str] | None = None) -> int:
    """Run a command line.

    A `DrupeletError` becomes one line on standard error that ends with its code.

    Returns:
        The exit code.
    """
    with lean_imports():
        # argparse loads the compressions of archives, through `shutil`.
        arguments = make_parser().parse_args(argv)
    command: Command = arguments.command
    try:
        return command(arguments)
    except DrupeletError as error:
        print(f"error: {error} [{error.code}]", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="drupelet-agent",
        description="Serve compiled models on this device over MQTT.",
        epilog="Example: drupelet-agent --config /etc/drupelet/agent.toml run",
    )
    parser.add_argument("--version", action="version", version=f"drupelet-agent {__version__}")
    parser.add_argument(
        "--config", type=Path, default=_DEFAULT_CONFIG, metavar="FILE", help="configuration (default: %(default)s)"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    completion.add(commands, parser)
    return parser
