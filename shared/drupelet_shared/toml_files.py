"""Reads the TOML files that people write: recipes, sweeps, settings and the agent's configuration."""

from __future__ import annotations

import codecs
import tomllib
from pathlib import Path
from typing import Any


def read_toml(path: Path) -> dict[str, Any]:
    """Return the document in a file; a byte order mark, which some editors write, is skipped.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not TOML; the message says where.
    """
    data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"not TOML: line {line} is not UTF-8 text (byte 0x{data[error.start]:02x}): save the file as UTF-8"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not TOML: {error}") from error
