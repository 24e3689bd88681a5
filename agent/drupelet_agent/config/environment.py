"""Reads the environment of the process; no other module of the agent does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CREDENTIALS = "CREDENTIALS_DIRECTORY"
CREDENTIALS_PREFIX = f"${_CREDENTIALS}"
# The variables that an interpreter and its libraries need; workers get no others.
_WORKER_NAMES = {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV"}
_WORKER_PREFIXES = ("LC_", "PYTHON", "MALLOC_", "OMP_")


def resolve_path(path: Path, *, base: Path) -> Path:
    """Return a path of the configuration as this process can open it.

    Args:
        path: The path in the configuration; `$CREDENTIALS_DIRECTORY/name` is a systemd credential (systemd.exec(5)).
        base: The folder that relative paths are relative to.

    Returns:
        An absolute path; the path of a credential is unchanged if systemd passed none.
    """
    if path.parts[:1] != (CREDENTIALS_PREFIX,):
        return base / path
    folder = os.environ.get(_CREDENTIALS)
    return Path(folder, *path.parts[1:]) if folder else path


def is_missing_credential(path: Path) -> bool:
    """Return whether a resolved path is that of a systemd credential that this process was not given."""
    return path.parts[:1] == (CREDENTIALS_PREFIX,)


def worker_environment() -> Mapping[str, str]:
    """Return the environment of a worker process."""
    kept = {
        name: value for name, value in os.environ.items() if name in _WORKER_NAMES or name.startswith(_WORKER_PREFIXES)
    }
    # NumPy's own threads have no work in a worker, and their stacks would count against the memory limit.
    return {**kept, "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class ServiceManagerSettings:
    """What systemd passes to a service it supervises (sd_notify(3), sd_watchdog_enabled(3)).

    Attributes:
        notify_socket: `NOTIFY_SOCKET`: a path, or `@` and the name of an abstract socket.
        watchdog_usec: `WATCHDOG_USEC`: the watchdog's period.
        watchdog_pid: `WATCHDOG_PID`: the process that the watchdog supervises.
    """

    notify_socket: str | None
    watchdog_usec: str | None = None
    watchdog_pid: str | None = None


def service_manager_settings() -> ServiceManagerSettings:
    """Return what the service manager that started this process passed to it, if there is one."""
    get = os.environ.get
    return ServiceManagerSettings(get("NOTIFY_SOCKET"), get("WATCHDOG_USEC"), get("WATCHDOG_PID"))


def is_journal(descriptor: int) -> bool:
    """Return whether a descriptor is connected to the journal (JOURNAL_STREAM, systemd.exec(5))."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    status = os.fstat(descriptor)
    return (device, inode) == (str(status.st_dev), str(status.st_ino))
