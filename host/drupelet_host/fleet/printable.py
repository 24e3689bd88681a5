"""Escaping of text that comes from outside before it reaches a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Replace the characters of a text that would control the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
