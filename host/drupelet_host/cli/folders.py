"""The folders for settings and caches (XDG Base Directory Specification)."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache() -> Path:
    """Return the folder for the results of finished compiler passes."""
    return _base("XDG_CACHE_HOME", ".cache") / "compile"


def settings_file() -> Path:
    """Return the path of the settings file, which need not exist."""
    return _base("XDG_CONFIG_HOME", ".config") / "config.toml"


def rollout_folder() -> Path:
    """Return the folder for the states of roll-outs."""
    return _base("XDG_STATE_HOME", ".local/state") / "rollouts"


def _base(variable: str, default: str) -> Path:
    # By the specification a relative path is invalid and counts as unset.
    configured = Path(os.environ.get(variable, ""))
    return (configured if configured.is_absolute() else Path.home() / default) / "drupelet"
