"""The file that an upload sends, with its digest and its size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file to upload.

    Attributes:
        path: Where the file is.
        digest: Its SHA-256 in hexadecimal.
        size_bytes: Its size.
    """

    path: Path
    digest: str
    size_bytes: int


def measure_file(path: Path) -> PackageFile:
    """Return a file with its digest and its size."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return PackageFile(path, digest, file.seek(0, 2))
