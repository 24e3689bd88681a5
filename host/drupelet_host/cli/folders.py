"""Where the commands keep what is not the person's to look after (XDG Base Directory Specification)."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache() -> Path:
    """The folder for finished passes of compiles."""
    # The specification: a relative path is invalid and counts as unset.
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    home = configured if configured.is_absolute() else Path.home() / ".cache"
    return home / "drupelet" / "compile"
