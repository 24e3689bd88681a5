"""The beginning of a download on disk, and which version of the file it is of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from drupelet_shared.files import write_atomically


@dataclass(frozen=True, slots=True)
class Partial:
    """A file whose length says how far it has come, and a note beside it."""

    path: Path

    @property
    def received(self) -> int:
        """How many bytes are there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def validator(self) -> str | None:
        """What the server called the version these bytes are of (RFC 9110, section 13.1.5); None if it did not."""
        try:
            found = json.loads(self._note.read_bytes())["validator"]
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return found if isinstance(found, str) else None

    def begin(self, validator: str | None) -> None:
        """Start from nothing."""
        self.path.write_bytes(b"")
        write_atomically(self._note, json.dumps({"validator": validator}).encode())

    def discard(self) -> None:
        """Remove it."""
        for path in (self.path, self._note):
            path.unlink(missing_ok=True)

    def discard_others(self, *, keep: int) -> None:
        """Remove the other downloads of the folder but the latest."""
        others = [path for path in self.path.parent.glob("*.part") if path != self.path]
        for path in sorted(others, key=lambda one: one.stat().st_mtime, reverse=True)[keep:]:
            Partial(path).discard()

    @property
    def _note(self) -> Path:
        return self.path.with_suffix(".json")
