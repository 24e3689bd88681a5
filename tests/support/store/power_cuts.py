"""Cuts the power after each system call of each operation on a store, in all ways that a disk may take it.

A process of its own, since it forks and must have one thread: python -m support.store.power_cuts PACKAGES WORK.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drupelet_agent.store.store import Store
from support.store.disk_model import Disk, File, Folder, Tree, write_tree
from support.store.kill_points import RELEASES, active_release
from support.store.store_operations import Operations, check_store
from support.store.tracing import Call, read_memory, read_text, trace

_AT_FDCWD = -100
_O_TRUNC, _O_CREAT = 0o1000, 0o100


class Recorder:
    """Follows a child's calls on a disk, and keeps what may be on it after each."""

    def __init__(self, disk: Disk, check: Callable[[Tree], None]) -> None:
        self._disk = disk
        self._check = check
        self.written_bytes = 0
        self.syncs = 0

    def observe(self, pid: int, call: Call) -> Callable[[int], None]:
        """Return a call begins; what it does to the disk is done when it has succeeded."""
        change = self._read(pid, call)

        def end(result: int) -> None:
            if change is not None and result >= 0:
                change()
                for state in self._disk.states():
                    self._check(state)

        return end

    def _read(self, pid: int, call: Call) -> Callable[[], None] | None:
        name, a = call.name, call.arguments
        path: Path
        change: Callable[[Path], None]
        match name:
            case "openat" | "open":
                at, text, flags = a[:3] if name == "openat" else (_AT_FDCWD, a[0], a[1])
                path, change = self._path(pid, at, text), lambda path: self._open(path, flags)
            case "write":
                return self._write(pid, a[0], read_memory(pid, a[1], a[2]))
            case "mkdir" | "mkdirat":
                path = self._path(pid, *((_AT_FDCWD, a[0]) if name == "mkdir" else a[:2]))
                change = lambda path: self._disk.add(path, Folder())  # noqa: E731 - one of several
            case "rename" | "renameat" | "renameat2":
                ends = (_AT_FDCWD, a[0], _AT_FDCWD, a[1]) if name == "rename" else a[:4]
                path, target = self._path(pid, *ends[:2]), self._path(pid, *ends[2:])
                change = lambda path: self._disk.rename(path, target)  # noqa: E731 - as above
            case "unlink" | "rmdir" | "unlinkat":
                path = self._path(pid, *(a[:2] if name == "unlinkat" else (_AT_FDCWD, a[0])))
                change = self._disk.remove
            case "fsync" | "fdatasync":
                path, change = self._opened(pid, a[0]), self._sync
            case "fchmod" | "chmod" | "utimensat":
                return None
            case _:
                raise AssertionError(f"a store is not known to call {name}")
        return (lambda: change(path)) if self._disk.covers(path) else None

    def _open(self, path: Path, flags: int) -> None:
        node = self._disk.find(path)
        if node is None:
            assert flags & _O_CREAT, path
            self._disk.add(path, File())
        elif flags & _O_TRUNC:
            assert isinstance(node, File)
            node.content = b""

    def _write(self, pid: int, descriptor: int, data: bytes) -> Callable[[], None] | None:
        path = self._opened(pid, descriptor)
        if not self._disk.covers(path):
            return None
        position = int(Path(f"/proc/{pid}/fdinfo/{_signed(descriptor)}").read_text(encoding="ascii").split()[1])
        node = self._disk.find(path)
        assert isinstance(node, File), path

        def write() -> None:
            node.content = node.content[:position] + data + node.content[position + len(data) :]
            self.written_bytes += len(data)

        return write

    def _sync(self, path: Path) -> None:
        self._disk.sync(path)
        self.syncs += 1

    @staticmethod
    def _opened(pid: int, descriptor: int) -> Path:
        return Path(f"/proc/{pid}/fd/{_signed(descriptor)}").readlink()

    def _path(self, pid: int, at: int, address: int) -> Path:
        path = Path(read_text(pid, address))
        if path.is_absolute():
            return path
        folder = Path(f"/proc/{pid}/cwd").readlink() if _signed(at) == _AT_FDCWD else self._opened(pid, at)
        return folder / path


def try_operation(name: str, operations: Operations, work: Path) -> dict[str, Any]:
    """Cut the power everywhere in one operation; each time one whole release is active, and at the end the new one."""
    operation, root, there = operations.by_name[name], work / "store", work / "after"
    operations.make(root, name)
    before, seen = active_release(root), dict[Tree, int | None]()

    def check(state: Tree, allowed: set[int | None]) -> None:
        if state not in seen:
            write_tree(state, there)
            seen[state] = check_store(there, allowed=allowed, releases=RELEASES)
            shutil.rmtree(there)
        assert seen[state] in allowed, f"release {seen[state]} is active, expected one of {allowed}"

    disk = Disk(root)
    recorder = Recorder(disk, lambda state: check(state, {before, operation.active}))
    try:
        traced = trace(lambda: operation.run(Store(root)), observe=recorder.observe)
        assert traced.status == 0, f"{name} failed by itself"
        for state in disk.states():
            check(state, {operation.active})
            assert operation.leaves is None or operation.leaves.items() <= dict(state).items(), "what it left is lost"
    except Exception as error:
        raise AssertionError(f"{name}, {len(seen)} states: {type(error).__name__}: {error}") from error
    shutil.rmtree(root)
    return {"states": len(seen), "written_bytes": recorder.written_bytes, "syncs": recorder.syncs}


def _signed(number: int) -> int:
    """Return a register as the 32-bit integer that the kernel takes it for."""
    return (number & 0xFFFFFFFF) - (1 << 32 if number & 0x80000000 else 0)


def main() -> None:
    """Try every operation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("packages", type=Path)
    parser.add_argument("work", type=Path)
    arguments = parser.parse_args()
    operations = Operations(arguments.packages)
    json.dump({name: try_operation(name, operations, arguments.work) for name in operations.by_name}, sys.stdout)


if __name__ == "__main__":
    main()
