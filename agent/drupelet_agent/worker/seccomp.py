"""A seccomp filter that refuses system calls of which inference has no use and an attacker has.

All other calls stay allowed: threads and memory of an engine need many calls that a list of allowed ones would miss.
Source: seccomp(2); the numbers are those of the kernel's `asm/unistd.h` for each machine.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_TSYNC = 1
_RET_KILL_PROCESS = 0x80000000
_RET_ERRNO = 0x00050000
_RET_ALLOW = 0x7FFF0000
# Offsets in struct seccomp_data: the number of the call, and the architecture of its caller.
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET = 0, 4
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
# Calls of the x32 interface have this bit; without a test for it they would pass every comparison below.
_X32_BIT = 0x40000000

_NAMES = (
    # The network: no socket of any family can be created or used, except the inherited channel.
    *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4"),
    # Other programs and other processes.
    *("execve", "execveat", "kill", "tkill", "ptrace", "process_vm_readv", "process_vm_writev"),
    *("pidfd_open", "pidfd_getfd", "pidfd_send_signal"),
    # Large or privileged parts of the kernel; io_uring creates sockets without the calls above.
    *("io_uring_setup", "bpf", "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl"),
    *("unshare", "setns", "mount"),
)


@dataclass(frozen=True, slots=True)
class _Machine:
    """The constants of one machine type: AUDIT_ARCH, the number of seccomp(2), and the numbers of `_NAMES`."""

    architecture: int
    seccomp: int
    numbers: tuple[int, ...]


# fmt: off
_MACHINES = {
    "x86_64": _Machine(0xC000003E, 317, (
        41, 53, 42, 49, 50, 43, 288,
        59, 322, 62, 200, 101, 310, 311, 434, 438, 424,
        425, 321, 298, 323, 248, 249, 250, 272, 308, 165,
    )),
    "aarch64": _Machine(0xC00000B7, 277, (
        198, 199, 203, 200, 201, 202, 242,
        221, 281, 129, 130, 117, 270, 271, 434, 438, 424,
        425, 280, 241, 282, 217, 218, 219, 97, 268, 40,
    )),
}
# fmt: on


class _Program(ctypes.Structure):
    """The filter as the kernel reads it (struct sock_fprog)."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def refuse_system_calls() -> None:
    """Make the calls above fail with EPERM in every thread of this process, for good.

    Raises:
        OSError: The kernel lacks seccomp filters, the process may still gain privileges, or the machine type is
            unknown.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None or ctypes.sizeof(ctypes.c_void_p) != 8:  # noqa: PLR2004 - bytes of a 64-bit pointer
        raise OSError(errno.ENOSYS, f"no system call filter for {platform.machine()}")
    instructions = _instructions(machine)
    program = _Program(len(instructions), b"".join(instructions))
    result = ctypes.CDLL(None, use_errno=True).syscall(
        ctypes.c_long(machine.seccomp),
        ctypes.c_ulong(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_ulong(_SECCOMP_FILTER_FLAG_TSYNC),
        ctypes.byref(program),
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _instructions(machine: _Machine) -> list[bytes]:
    """Return the filter: a call of another architecture ends the process, a listed call fails, all others pass."""
    calls = machine.numbers
    tests = [
        _instruction(_JUMP_AT_LEAST, _X32_BIT, if_true=len(calls) + 1),
        *(_instruction(_JUMP_EQUAL, number, if_true=len(calls) - index) for index, number in enumerate(calls)),
    ]
    return [
        _instruction(_LOAD, _ARCHITECTURE_OFFSET),
        _instruction(_JUMP_EQUAL, machine.architecture, if_true=1),
        _instruction(_RETURN, _RET_KILL_PROCESS),
        _instruction(_LOAD, _NUMBER_OFFSET),
        *tests,
        _instruction(_RETURN, _RET_ALLOW),
        _instruction(_RETURN, _RET_ERRNO | errno.EPERM),
    ]


def _instruction(code: int, value: int, *, if_true: int = 0) -> bytes:
    """Return one instruction as the kernel reads it (struct sock_filter)."""
    return struct.pack("=HBBI", code, if_true, 0, value)
