"""Landlock: restricts a process for good to reading below a few folders, and writing below at most one.

Source: landlock(7) and the kernel's `linux/landlock.h`. The numbers of its system calls are the same on every machine.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER, _MAKE_FILE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 8
# The rights on files that each version of the interface added: 13 in the first, later moving between folders and
# truncating.
_FIRST_RIGHTS = (1 << 13) - 1
_REFER, _REFER_SINCE = 1 << 13, 2
_TRUNCATE, _TRUNCATE_SINCE = 1 << 14, 3
_NETWORK_SINCE, _SCOPES_SINCE = 4, 6
# Abstract sockets of processes outside, and signals to them.
_SCOPES = 0b11


def restrict_files(paths: Iterable[Path], *, writable: Path | None = None) -> None:
    """Refuse this thread, and the threads and processes it starts, every file access except reading below some paths.

    Args:
        paths: Folders and files; those that do not exist are skipped. Open descriptors keep working.
        writable: A folder in which regular files may also be created and written; None if there is none.

    Raises:
        OSError: The kernel lacks Landlock, or has it disabled.
    """
    version = _call(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    rights = _FIRST_RIGHTS | _REFER * (version >= _REFER_SINCE) | _TRUNCATE * (version >= _TRUNCATE_SINCE)
    attributes = struct.pack("=Q", rights)
    if version >= _NETWORK_SINCE:
        attributes += struct.pack("=Q", 0)
    if version >= _SCOPES_SINCE:
        attributes += struct.pack("=Q", _SCOPES)
    ruleset = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in paths:
            _allow(ruleset, path, _READ_FILE | _EXECUTE | (_READ_FOLDER if path.is_dir() else 0))
        if writable is not None:
            _allow(ruleset, writable, (_WRITE_FILE | _READ_FILE | _READ_FOLDER | _MAKE_FILE | _TRUNCATE) & rights)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: int | bytes | None) -> int:
    words = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *words)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
