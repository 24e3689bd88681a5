"""Output of the commands: one console for people, JSON for programs, one form of error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console

from drupelet_host.cli.paragraphs import wrap_lines
from drupelet_shared.errors import DrupeletError
from drupelet_shared.exit_codes import USAGE_CODE

# Rich honours NO_COLOR and detects whether it writes to a terminal. Results go to standard output, all else to
# standard error.
console = Console(highlight=False)
progress_console = Console(stderr=True, highlight=False)

# For tables in a file or a pipe.
_PIPE_WIDTH = 200

_LEADING_CAPITAL = re.compile(r"^[A-Z](?=[a-z])")


def table_console() -> Console:
    """Return the console for tables: a file or a pipe gets every column uncut, whatever the width of a window."""
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def print_error(error: DrupeletError) -> None:
    """Print an error on standard error: the message and the stable code; a terminal gets lines that fit."""
    print_note(f"error: {error} [{error.code}]")


def print_note(text: str) -> None:
    """Print text on standard error, broken between words on a terminal."""
    is_terminal = progress_console.is_terminal
    click.echo(wrap_lines(text, progress_console.width) if is_terminal else text, err=True)


def print_usage_error(error: click.ClickException) -> None:
    """Print wrong usage on standard error: how the command is used, then the error in the form of every other."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        click.echo(f"usage: {context.get_usage().removeprefix('Usage: ')}", err=True)
        click.echo(f"       {context.command_path} --help explains it", err=True)
    message = error.format_message().rstrip(".")
    # click's own messages begin with a capital letter.
    print_note(f"error: {_LEADING_CAPITAL.sub(_to_lower, message)} [{USAGE_CODE}]")


def _to_lower(match: re.Match[str]) -> str:
    return match.group().lower()


@contextmanager
def explain_interruption(describe: Callable[[], str]) -> Iterator[None]:
    """Print on standard error, after Ctrl-C, what is kept and how to go on.

    Args:
        describe: Returns the text; a command to copy is its last line.
    """
    try:
        yield
    except KeyboardInterrupt:
        text, newline, command = f"interrupted: {describe()}".partition("\n")
        click.echo(err=True)
        print_note(text)
        if newline:
            click.echo(command, err=True)
        raise


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print one indented JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, sort_keys=True))


def print_json_line(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print one JSON document as a line on standard output, at once."""
    click.echo(json.dumps(value, sort_keys=True))
