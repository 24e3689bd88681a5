"""Keeps out of the agent's processes what libraries load there and they never use.

It takes 9 MB of resident memory in the parent, and 5 in a worker.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

# asyncio and pydantic load OpenSSL, through `ssl` and through `secrets` and `hmac`; both do without where Python was
# built without it. It is loaded later if the broker wants TLS.
_UNUSED = ("ssl", "_hashlib")
# Looks for plugins in the metadata of everything installed, with `email`, `zipfile` and `csv`, at the first model.
_PLUGIN_LOADER = "pydantic.plugin._loader"


@contextmanager
def lean_imports() -> Iterator[None]:
    """What is imported within does without them; afterwards they can be imported as ever."""
    names = [name for name in _UNUSED if name not in sys.modules]
    # None is how Python says "not to be imported".
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    if _PLUGIN_LOADER not in sys.modules:
        sys.modules[_PLUGIN_LOADER] = _no_plugins()
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def _no_plugins() -> ModuleType:
    module = ModuleType(_PLUGIN_LOADER)
    module.get_plugins = tuple  # type: ignore[attr-defined]
    return module
