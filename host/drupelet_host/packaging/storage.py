"""Whether the folders of a compile can be written, found before any work is done."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drupelet_host.errors import StorageError
from drupelet_shared.units import format_bytes

# Besides the model files: what passes note of themselves, and the report.
_SPARE_BYTES = 16 * 2**20
# The original, the float model, and each variant of it.
_FILES_IN_CACHE = 8
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def require_writable(folder: Path, *, what: str, needed_bytes: int = 0) -> None:
    """Check that files can be written to a folder, or that it can be made; nothing is left behind.

    Args:
        folder: The folder.
        what: What it is for, for messages.
        needed_bytes: The room that it must have.

    Raises:
        StorageError: It cannot be written, or has less room.
    """
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(b"x")
            probe.flush()
        free_bytes = shutil.disk_usage(existing).free
    except OSError as error:
        raise StorageError(f"{what} {folder} cannot be written: {error.strerror or error}: name another") from error
    if free_bytes < needed_bytes:
        raise StorageError(
            f"{what} {folder} has {format_bytes(free_bytes)} free: the compile needs about {format_bytes(needed_bytes)}"
        )


def estimate_cache_bytes(model_bytes: int) -> int:
    """Return the room that a compile of a model of that size takes in the cache."""
    return _SPARE_BYTES + _FILES_IN_CACHE * model_bytes


@contextmanager
def full_disk_as_error(folder: Path, *, what: str) -> Iterator[None]:
    """Turn the system's error of a full disk into a message that names the folder.

    Args:
        folder: The folder that is written to.
        what: What it is for, for messages.

    Raises:
        StorageError: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageError(f"{what} {folder}: {error.strerror}: free some room, or use another folder") from error
