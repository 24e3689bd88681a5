"""Pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

GENERATED = "<!-- Generated from the code by `make reference`: change the code. -->\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines) + "\n"


def code(text: str) -> str:
    """Text as it is typed."""
    return f"`{text}`" if text else ""


def sentence(text: str) -> str:
    """With a capital letter, unless the first word is no word."""
    first = text.partition(" ")[0].rstrip(",.;:")
    return text[:1].upper() + text[1:] if first.isalpha() else text


def page(*parts: str) -> str:
    """Return a whole page."""
    return "\n".join([GENERATED, *parts])


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")
