"""Sentences for a terminal: lines that are broken between words, and paths as a person would type them."""

from __future__ import annotations

import textwrap
from pathlib import Path

from rich.console import Console
from rich.text import Text

_INDENT = 2


def print_paragraph(text: str, *, to: Console) -> None:
    """Print text as it is; on a terminal, broken between words.

    Args:
        text: The lines. They are no markup.
        to: The console. A file or a pipe gets each line whole.
    """
    to.print(Text(wrap_lines(text, to.width) if to.is_terminal else text), soft_wrap=True)


def wrap_lines(text: str, width: int) -> str:
    """Break each line of a text between words.

    Args:
        text: The lines.
        width: The longest line, in characters. A longer word keeps its line to itself: it may be a path to copy.

    Returns:
        The text; what follows a break is indented by two characters more than the line that it belongs to.
    """
    return "\n".join(_wrap_line(line, width) for line in text.split("\n"))


def _wrap_line(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + _INDENT)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def short_path(path: Path) -> str:
    """Return a path relative to the working folder where it lies below it; as it is otherwise."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
