"""What commands print: one console for people, JSON for scripts, one form for errors."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console

from drupelet_shared.errors import DrupeletError

# Rich honours NO_COLOR and a terminal that is not one. Results go to standard output, all else to standard error.
console = Console(highlight=False)
progress_console = Console(stderr=True, highlight=False)


def print_error(error: DrupeletError) -> None:
    """One line on standard error: the message and its stable code."""
    click.echo(f"error: {error} [{error.code}]", err=True)


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, sort_keys=True))


def print_json_line(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """One JSON document on a line of its own, for who reads while we go on."""
    click.echo(json.dumps(value, sort_keys=True))
