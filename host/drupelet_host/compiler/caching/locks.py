"""Locks by which compiles that share a cache make each pass once, and write into no folder of each other."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

_SUFFIX = ".lock"
# File systems without locks; there everyone makes the pass, as with caches of their own.
_UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS})


class PassLocks:
    """The passes that one compile makes. A lock ends with its process, also when that is killed.

    Args:
        folder: The cache's folder, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}

    def take(self, key: str) -> bool:
        """Take a pass's lock; return False, at once, while another compile holds it.

        Args:
            key: The key of the pass in the cache.

        Raises:
            OSError: The file of the lock cannot be created.
        """
        if key in self._held:
            return True
        path = self._path(key)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                os.close(descriptor)
                raise
        if not _is_open_as(descriptor, path):
            # Its last holder has removed the file in between.
            os.close(descriptor)
            return False
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._held[key] = descriptor
        return True

    def holder(self, key: str) -> str:
        """Return the process that holds a pass's lock, as text for people."""
        try:
            number = self._path(key).read_text(encoding="utf-8")
        except OSError:
            number = ""
        return f"process {number}" if number else "another process"

    def release(self) -> None:
        """Give all locks back."""
        for key, descriptor in self._held.items():
            # Before the file is closed: afterwards it may be locked by another compile.
            self._path(key).unlink(missing_ok=True)
            os.close(descriptor)
        self._held.clear()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{_SUFFIX}"


def _is_open_as(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
