"""What a worker process gives up before it reads anything from outside; each step is the kernel's, so none is undone.

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

from drupelet_agent.worker.landlock import only_read_below
from drupelet_agent.worker.seccomp import refuse_system_calls

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
# Standard streams, the channel, and a few files at a time while an engine loads its libraries and a model.
_OPEN_FILES = 128
# The largest file that a worker may write, where it may write at all.
_WRITTEN_BYTES = 128 * 2**20
# Where libraries and the kernel's own tables lie; no folder here holds keys, passwords or packages.
_SYSTEM_PATHS = ("/usr", "/lib", "/lib64", "/proc", "/sys", "/dev", "/etc/ld.so.cache")


def enter_sandbox(package_folder: Path, *, writable: Path | None = None) -> tuple[str, ...]:
    """Give up what a worker does not need: more privileges, other processes, programs, the network, files to write.

    Args:
        package_folder: What the worker may read besides Python, libraries and the kernel's tables.
        writable: A folder in which it may make files; None for most.

    Returns:
        The protections that this kernel refused, in words for the log; empty where all hold.
    """
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("parent_death_signal", lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)),
        ("no_new_privileges", lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1)),
        # No core file, no debugger, and /proc/PID/mem and environ for root alone.
        ("not_dumpable", lambda: _prctl(_PR_SET_DUMPABLE, 0)),
        ("no_core_files", lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))),
        ("few_open_files", _limit_open_files),
        ("small_files", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (_WRITTEN_BYTES, _WRITTEN_BYTES))),
        ("landlock", lambda: only_read_below(_readable(package_folder), writable=writable)),
        ("system_call_filter", refuse_system_calls),
    )
    return tuple(name for name, step in steps if not _taken(step))


def _taken(step: Callable[[], None]) -> bool:
    try:
        step()
    except OSError:
        return False
    return True


def _prctl(option: int, value: int) -> None:
    # The kernel looks at whole registers, and ctypes passes plain integers as 32 bits.
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
