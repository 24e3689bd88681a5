"""Output of the commands: one console for people, JSON for programs, one form of error."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console

from drupelet_shared.errors import DrupeletError

# Rich honours NO_COLOR and detects whether it writes to a terminal. Results go to standard output, all else to
# standard error.
console = Console(highlight=False)
progress_console = Console(stderr=True, highlight=False)


def print_error(error: DrupeletError) -> None:
    """Print an error on standard error: one line with the message and the stable code."""
    click.echo(f"error: {error} [{error.code}]", err=True)


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print one indented JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, sort_keys=True))


def print_json_line(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print one JSON document as a line on standard output, at once."""
    click.echo(json.dumps(value, sort_keys=True))
