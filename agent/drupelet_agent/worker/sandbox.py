"""The sandbox that a worker process enters before it reads a package; the kernel enforces each step for good.

Sources: prctl(2), getrlimit(2), seccomp(2), landlock(7).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from drupelet_agent.worker.landlock import restrict_files
from drupelet_agent.worker.seccomp import refuse_system_calls

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
# Standard streams, the channel, and a few files at a time while an engine loads its libraries and a model.
_OPEN_FILES = 128
# The largest file that a worker may write, where it may write at all.
_WRITTEN_BYTES = 128 * 2**20
# Libraries and the kernel's tables; no folder here holds keys, passwords or packages.
_SYSTEM_PATHS = ("/usr", "/lib", "/lib64", "/proc", "/sys", "/dev", "/etc/ld.so.cache")


def enter_sandbox(package_folder: Path, *, writable: Path | None = None) -> tuple[str, ...]:
    """Give up new privileges, other processes and programs, the network, and all files but those a worker reads.

    Args:
        package_folder: The folder that the worker may read besides Python, libraries and the kernel's tables.
        writable: A folder in which it may create files; None if there is none.

    Returns:
        The names of the protections that this kernel refused; empty if all are in force.
    """
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("parent_death_signal", lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)),
        ("no_new_privileges", lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1)),
        # No core file, no debugger, and /proc/PID/mem and environ for root alone.
        ("not_dumpable", lambda: _prctl(_PR_SET_DUMPABLE, 0)),
        ("no_core_files", lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))),
        ("few_open_files", _limit_open_files),
        ("small_files", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (_WRITTEN_BYTES, _WRITTEN_BYTES))),
        ("landlock", lambda: restrict_files(_readable(package_folder), writable=writable)),
        ("system_call_filter", refuse_system_calls),
    )
    return tuple(name for name, step in steps if not _succeeds(step))


def _succeeds(step: Callable[[], None]) -> bool:
    try:
        step()
    except OSError:
        return False
    return True


def _prctl(option: int, value: int) -> None:
    # The kernel reads whole registers, and ctypes passes plain integers as 32 bits.
    arguments = [ctypes.c_ulong(argument) for argument in (value, 0, 0, 0)]
    if ctypes.CDLL(None, use_errno=True).prctl(option, *arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _limit_open_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def _readable(package_folder: Path) -> Sequence[Path]:
    paths = (sys.prefix, sys.base_prefix, *sys.path, *_SYSTEM_PATHS)
    return [package_folder, *(Path(path) for path in paths if path)]
