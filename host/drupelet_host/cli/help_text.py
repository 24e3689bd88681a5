"""The layout of help texts: examples on lines that can be copied, and options under the heading of their group."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping

import click

_EXAMPLE = "Example: "


def prose_of(text: str) -> str:
    """Return a help text without its examples."""
    return "\n\n".join(one for one in _paragraphs(text) if not one.startswith(_EXAMPLE))


def examples_of(text: str) -> list[str]:
    """Return the command lines that a help text gives as examples."""
    examples = (one for one in _paragraphs(text) if one.startswith(_EXAMPLE))
    return [" ".join(one.removeprefix(_EXAMPLE).split()) for one in examples]


def write_examples(formatter: click.HelpFormatter, examples: Iterable[str]) -> None:
    """Write command lines; one that is wider than the terminal continues behind a backslash, as the shell reads it."""
    with formatter.section("Examples"):
        for example in examples:
            for line in _wrap(example, width=formatter.width - formatter.current_indent):
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def write_exit_codes(formatter: click.HelpFormatter, codes: Mapping[int, str]) -> None:
    """Write what each exit code means."""
    with formatter.section("Exit codes"):
        formatter.write_dl([(str(code), meaning) for code, meaning in codes.items()])


def _paragraphs(text: str) -> list[str]:
    return inspect.cleandoc(text).split("\n\n")


def _wrap(example: str, *, width: int) -> list[str]:
    """Break a command line before an option or a pipe."""
    lines = [""]
    for part in re.split(r" (?=--|\| )", example):
        joined = f"{lines[-1]} {part}" if lines[-1] else part
        # Two columns are for the backslash.
        if lines[-1] and len(joined) > width - 2:
            lines[-1] += " \\"
            lines.append(f"    {part}")
        else:
            lines[-1] = joined
    return lines
