"""The finished parts of a pass that has not finished, on disk: a run after an interruption takes them from there."""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from drupelet_shared.files import write_atomically

log = logging.getLogger(__name__)

_SUFFIX = ".part"
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class FinishedRecovery:
    """What a recovery came to.

    Attributes:
        state: The state of the module.
        best: The metric of that state.
        metrics: The metric after each epoch.
    """

    state: Mapping[str, torch.Tensor]
    best: float
    metrics: tuple[float, ...]


class FinishedParts:
    """A folder with one file for each finished part. No other user may write to it: the parts are pickles.

    A part is named after everything that it depends on within the pass. What the pass itself depends on is the same for
    all parts in the folder.

    Args:
        folder: The folder, which is created for the first part; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def __len__(self) -> int:
        """Return the number of parts."""
        return 0 if self._folder is None else sum(1 for _ in self._folder.glob(f"*{_SUFFIX}"))

    def load(self, name: str) -> Any:  # noqa: ANN401 - what was stored
        """Return a part; None if it is not there or is damaged."""
        if self._folder is None:
            return None
        try:
            stored = self._path(name).read_bytes()
            digest, part = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
            return pickle.loads(part) if hashlib.sha256(part).digest() == digest else None  # noqa: S301 - see the class
        except FileNotFoundError:
            return None
        except Exception:  # a class that has moved since
            log.debug("a finished part cannot be read name=%s", name, exc_info=True)
            return None

    def store(self, name: str, part: object) -> None:
        """Store a part; one that cannot be stored is made again after an interruption."""
        if self._folder is None:
            return
        try:
            data = pickle.dumps(part)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            write_atomically(self._path(name), hashlib.sha256(data).digest() + data)
        except Exception:  # a full disk must not end a compile that needs no more of it
            log.debug("a finished part cannot be stored name=%s", name, exc_info=True)

    def _path(self, name: str) -> Path:
        assert self._folder is not None, "the callers have a folder"
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()}{_SUFFIX}"


NOTHING_FINISHED = FinishedParts(None)
