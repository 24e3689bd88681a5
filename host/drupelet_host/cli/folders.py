"""Where the commands look for a person's defaults and keep what is not theirs to look after (XDG Base Directories)."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache() -> Path:
    """The folder for finished passes of compiles."""
    return _base("XDG_CACHE_HOME", ".cache") / "compile"


def settings_file() -> Path:
    """The file of defaults; it need not be there."""
    return _base("XDG_CONFIG_HOME", ".config") / "config.toml"


def _base(variable: str, default: str) -> Path:
    # The specification: a relative path is invalid and counts as unset.
    configured = Path(os.environ.get(variable, ""))
    return (configured if configured.is_absolute() else Path.home() / default) / "drupelet"
