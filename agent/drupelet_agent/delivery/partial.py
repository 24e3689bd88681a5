"""A partial download on disk, and the version of the file that it belongs to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from drupelet_shared.files import write_atomically


@dataclass(frozen=True, slots=True)
class Partial:
    """A partial file, and a note beside it that names the version."""

    path: Path

    @property
    def received(self) -> int:
        """The number of bytes received."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def validator(self) -> str | None:
        """The validator of the version that the bytes belong to (RFC 9110, section 13.1.5); None if there is none."""
        try:
            validator = json.loads(self._note.read_bytes())["validator"]
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return validator if isinstance(validator, str) else None

    def begin(self, validator: str | None) -> None:
        """Start an empty file of a version."""
        self.path.write_bytes(b"")
        write_atomically(self._note, json.dumps({"validator": validator}).encode())

    def discard(self) -> None:
        """Remove the file and its note."""
        for path in (self.path, self._note):
            path.unlink(missing_ok=True)

    def discard_others(self, *, keep: int) -> None:
        """Remove the other downloads in the folder, except the latest ones."""
        others = [path for path in self.path.parent.glob("*.part") if path != self.path]
        for path in sorted(others, key=lambda one: one.stat().st_mtime, reverse=True)[keep:]:
            Partial(path).discard()

    @property
    def _note(self) -> Path:
        return self.path.with_suffix(".json")
