"""Locks on files, which end with the process that holds them."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drupelet_agent.errors import StoreBusyError, store_errors

_RETRY_S = 0.05


@contextmanager
def exclusive_lock(path: Path, *, what: str, activity: str, timeout_s: float) -> Iterator[None]:
    """Hold a lock for the duration of the block.

    The file is opened for reading, so that an existing lock can be held on a read-only file system; it is never written
    to.

    Args:
        path: The file of the lock; created if it does not exist.
        what: The name of what the lock protects, for the error message.
        activity: The activity of the holder, for the error message.
        timeout_s: How long to wait for another holder.

    Returns:
        Nothing; the lock is held until the block ends.

    Raises:
        StoreBusyError: Another process holds the lock until the timeout.
        StoreError: The file cannot be opened or created.
    """
    with store_errors(path.parent):
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with _held(descriptor, what=what, activity=activity, timeout_s=timeout_s):
        yield


@contextmanager
def exclusive_folder_lock(folder: Path, *, what: str, activity: str, timeout_s: float) -> Iterator[None]:
    """Hold a lock on a folder itself, for which nothing is created: the disk may be full or read-only.

    Args:
        folder: The folder.
        what: The name of what the lock protects, for the error message.
        activity: The activity of the holder, for the error message.
        timeout_s: How long to wait for another holder.

    Returns:
        Nothing; the lock is held until the block ends.

    Raises:
        StoreBusyError: Another process holds the lock until the timeout.
        StoreError: The folder cannot be opened.
    """
    with store_errors(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with _held(descriptor, what=what, activity=activity, timeout_s=timeout_s):
        yield


@contextmanager
def _held(descriptor: int, *, what: str, activity: str, timeout_s: float) -> Iterator[None]:
    deadline_s = time.monotonic() + timeout_s
    try:
        while not _try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() >= deadline_s:
                raise StoreBusyError(f"{what}: another process is {activity}")
            time.sleep(_RETRY_S)
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Return whether a process holds a lock, without creating or changing its file.

    Raises:
        StoreError: The file cannot be opened.
    """
    with store_errors(path.parent):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
    try:
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
