"""A child process stopped at each system call that changes files, and killed there: ptrace(2), by ctypes."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_TRACEME, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_TRACESYSGOOD, _EXITKILL = 1, 1 << 20
_ENTRY = 1
_INFO = struct.Struct("=B3xIQQQ6Q")

# Every call with which Python's os, shutil and io change files; numbers of x86-64 and of aarch64.
_CALLS: dict[str, tuple[int | None, int]] = {
    "open": (2, -1),
    "openat": (257, 56),
    "creat": (85, -1),
    "write": (1, 64),
    "writev": (20, 66),
    "pwrite64": (18, 68),
    "rename": (82, -1),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, -1),
    "linkat": (265, 37),
    "symlink": (88, -1),
    "symlinkat": (266, 36),
    "unlink": (87, -1),
    "unlinkat": (263, 35),
    "rmdir": (84, -1),
    "mkdir": (83, -1),
    "mkdirat": (258, 34),
    "truncate": (76, 45),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "chmod": (90, -1),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "copy_file_range": (326, 285),
    "sendfile": (40, 71),
    "utimensat": (280, 88),
}
_COLUMN = 1 if platform.machine() == "aarch64" else 0
_NAMES = {numbers[_COLUMN]: name for name, numbers in _CALLS.items()}
_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.restype = ctypes.c_long
_LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


@dataclass(frozen=True)
class Call:
    """One system call that changes files, as it begins."""

    name: str
    arguments: tuple[int, ...]


# Told of a call as it begins; what it returns is told of the result.
Observe = Callable[[int, Call], Callable[[int], None]]


@dataclass(frozen=True)
class Traced:
    """What became of a child: the calls it began, and its exit status; None if it was killed."""

    calls: tuple[Call, ...]
    status: int | None


def trace(work: Callable[[], object], *, kill_at: int | None = None, observe: Observe | None = None) -> Traced:
    """Run `work` in a forked child, and kill it as it begins its `kill_at`-th (from 0) call that changes files.

    The call itself is not carried out. The process must have one thread. `observe` is told of each call as it begins,
    with the child's process id; what it returns is told of the call's result.
    """
    pid = os.fork()
    if pid == 0:
        _run_child(work)
    calls: list[Call] = []
    _wait_for_stop(pid)
    _ptrace(_SETOPTIONS, pid, _TRACESYSGOOD | _EXITKILL)
    pending, end = 0, _ignore
    while True:
        _ptrace(_SYSCALL, pid, pending)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            return Traced(tuple(calls), os.WEXITSTATUS(status))
        if os.WIFSIGNALED(status):
            return Traced(tuple(calls), None)
        stop = os.WSTOPSIG(status)
        pending = 0 if stop == signal.SIGTRAP | 0x80 else stop
        if pending:
            continue
        call, result = _look(pid)
        if call is None:
            end(result)
            end = _ignore
        else:
            if len(calls) == kill_at:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return Traced(tuple(calls), None)
            calls.append(call)
            end = observe(pid, call) if observe is not None else _ignore


def _ignore(_: int) -> None:
    """A result that is not used."""


def read_memory(pid: int, address: int, length: int) -> bytes:
    """Bytes of another process."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(length)


def read_text(pid: int, address: int) -> str:
    """Return a C string in another process."""
    return read_memory(pid, address, 4096).partition(b"\0")[0].decode()


def _run_child(work: Callable[[], object]) -> None:
    status = 1
    try:
        _ptrace(_TRACEME, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        work()
        status = 0
    finally:
        os._exit(status)


def _wait_for_stop(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    assert os.WIFSTOPPED(status), status


def _look(pid: int) -> tuple[Call | None, int]:
    """Return the call that a stopped child begins, if it changes files; else None, and the result if it ends one."""
    buffer = ctypes.create_string_buffer(_INFO.size)
    _ptrace(_GET_SYSCALL_INFO, pid, ctypes.addressof(buffer), address=_INFO.size)
    operation, _, _, _, number, *arguments = _INFO.unpack(buffer.raw)
    if operation != _ENTRY:
        return None, ctypes.c_int64(number).value
    name = _NAMES.get(number)
    flags_at = {"open": 1, "openat": 2}.get(name or "")
    if name is None or (flags_at is not None and not _WRITING_FLAGS & arguments[flags_at]):
        return None, 0
    return Call(name, tuple(arguments)), 0


def _ptrace(request: int, pid: int, data: int, *, address: int = 0) -> None:
    if _LIBC.ptrace(request, pid, address, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
