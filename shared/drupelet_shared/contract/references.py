"""References of tables: `package.module:attribute`, imported when the entry is used."""

from __future__ import annotations

import importlib
from typing import Any


def load_reference(reference: str) -> Any:  # noqa: ANN401 - a module may define anything
    """Import the module of a reference and return its attribute.

    Raises:
        ImportError: The module, or one that it needs, cannot be imported.
        AttributeError: The module has no such attribute.
    """
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)
