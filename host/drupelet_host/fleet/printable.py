"""Texts from elsewhere, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text without what would control the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
