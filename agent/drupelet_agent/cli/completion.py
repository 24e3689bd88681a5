"""The command `completion`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from drupelet_agent.cli.command import Subparsers, add_command
from drupelet_shared.exit_codes import EXIT_OK

_SHELLS = ("bash", "zsh", "fish")


def add(commands: Subparsers[argparse.ArgumentParser], whole: argparse.ArgumentParser) -> None:
    """Add the command.

    Args:
        commands: The commands so far.
        whole: The parser of the whole command line, which the script completes.
    """
    parser = add_command(
        commands,
        "completion",
        partial(_print_script, whole),
        summary="print a completion script for a shell",
        details=" on standard output; the examples put it where a new shell finds it",
        examples=(
            "completion bash > /usr/share/bash-completion/completions/drupelet-agent",
            "completion zsh > /usr/local/share/zsh/site-functions/_drupelet-agent",
            "completion fish > /etc/fish/completions/drupelet-agent.fish",
        ),
    )
    parser.add_argument("shell", choices=_SHELLS, help="the shell")


def _print_script(whole: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    import shtab  # noqa: PLC0415 - only this command needs it

    for action in _actions(whole):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined] # where shtab looks for it
        elif not action.option_strings and action.choices is None:
            # Where there is nothing to offer for an argument, zsh would not offer the options either.
            action.complete = {"zsh": "( )"}  # type: ignore[attr-defined] # as above
    sys.stdout.write(str(shtab.complete(whole, arguments.shell)))
    return EXIT_OK


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to its own arguments
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for command in action.choices.values():
                yield from _actions(command)
