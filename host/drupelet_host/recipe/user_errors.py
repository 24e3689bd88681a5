"""Errors that a person's own code raises, with the file and line they come from."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path

# Installed packages and the standard library are not the person's own code; neither is this product.
_FOREIGN = tuple(
    str(Path(folder).resolve())
    for folder in {*sysconfig.get_paths().values(), sys.prefix, str(Path(__file__).resolve().parents[2])}
    if folder
)
# Packages may also be installed elsewhere, for the user or on PYTHONPATH.
_INSTALLED = {"site-packages", "dist-packages"}


def describe_user_error(error: BaseException) -> str:
    """Return the type and message of an error, and the last line of a person's own code that led to it."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        # Its message names the file and the line.
        return text
    return f"{text}{find_user_line(error)}"


def find_user_line(error: BaseException) -> str:
    """Return the last line of a person's own code that led to an error, in brackets; empty if none did."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename)]
    if not frames:
        return ""
    last = frames[-1]
    return f" ({Path(last.filename).name}, line {last.lineno}, in {last.name})"


def _is_own(filename: str) -> bool:
    path = Path(filename).resolve()
    installed = _INSTALLED.intersection(path.parts) or str(path).startswith(_FOREIGN)
    return path.is_file() and not installed
