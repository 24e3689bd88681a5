"""The CPU quota and memory limit of this process's control groups: version 1, version 2, both at once, or neither.

Sources: cgroups(7), proc(5) on mountinfo, the kernel's cgroup-v1/memory and cgroup-v2 documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_V2 = "cgroup2"


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A control group's limit, and how much of it is left; file cache that can be dropped counts as left."""

    limit_bytes: int
    left_bytes: int


@dataclass(frozen=True, slots=True)
class _Mount:
    """A mounted hierarchy: `root` is the group that its mount point shows."""

    point: Path
    root: PurePosixPath
    controllers: frozenset[str]
    is_v2: bool


def cpu_quota(root: Path) -> float | None:
    """Return the cores' worth of time this process may use: the smallest quota from its group up; None without any.

    Args:
        root: Where /proc and /sys are.
    """
    quotas = [quota for group in _groups(root, "cpu") if (quota := _quota(group)) is not None]
    return min(quotas, default=None)


def memory_limit(root: Path) -> MemoryLimit | None:
    """Return the smallest limit, and the least that is left, from this process's group up; None without any.

    Args:
        root: Where /proc and /sys are.
    """
    limits = [limit for group in _groups(root, "memory") if (limit := _memory(group)) is not None]
    if not limits:
        return None
    return MemoryLimit(
        limit_bytes=min(limit.limit_bytes for limit in limits), left_bytes=min(limit.left_bytes for limit in limits)
    )


def _quota(group: Path) -> float | None:
    words = read_text(group / "cpu.max").split() or [
        read_text(group / "cpu.cfs_quota_us"),
        read_text(group / "cpu.cfs_period_us"),
    ]
    # "max" in version 2 and -1 in version 1 are no limit.
    if len(words) != 2 or not all(word.isdigit() for word in words) or words[1] == "0":  # noqa: PLR2004 - quota, period
        return None
    return int(words[0]) / int(words[1])


def _memory(group: Path) -> MemoryLimit | None:
    # Over `memory.high` a group is slowed to a crawl, so that limit is as real as the hard one.
    numbers = [_number(group / name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
    limits = [number for number in numbers if number is not None]
    if not limits:
        return None
    limit = min(limits)
    used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes") or 0
    return MemoryLimit(limit_bytes=limit, left_bytes=max(0, limit - max(0, used - _droppable(group))))


def _droppable(group: Path) -> int:
    """Return the bytes of inactive file cache, which the kernel reclaims first."""
    fields = dict(line.split(maxsplit=1) for line in read_text(group / "memory.stat").splitlines() if " " in line)
    text = fields.get("total_inactive_file", fields.get("inactive_file", "0"))
    return int(text) if text.isdigit() else 0


def _number(path: Path) -> int | None:
    text = read_text(path)
    return int(text) if text.isdigit() else None


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's groups and their ancestors that may limit it, nearest first."""
    mounts = _mounts(root)
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        controllers = frozenset(names.split(",")) if names else frozenset()
        if controllers and controller not in controllers:
            continue
        mount = _mount_of(mounts, controller, root=root, is_v2=not controllers)
        yield from _chain(mount, PurePosixPath(path))


def _chain(mount: _Mount, path: PurePosixPath) -> Iterator[Path]:
    # Inside a container the path may lie above what is mounted; then the mount point is all that can be seen.
    relative = path.relative_to(mount.root) if path.is_relative_to(mount.root) else PurePosixPath()
    if ".." in relative.parts:
        relative = PurePosixPath()
    for group in (relative, *relative.parents):
        yield mount.point / group


def _mount_of(mounts: list[_Mount], controller: str, *, root: Path, is_v2: bool) -> _Mount:
    for mount in mounts:
        if mount.is_v2 == is_v2 and (is_v2 or controller in mount.controllers):
            return mount
    usual = root / "sys/fs/cgroup" / ("" if is_v2 else controller)
    return _Mount(point=usual, root=PurePosixPath("/"), controllers=frozenset(), is_v2=is_v2)


def _mounts(root: Path) -> list[_Mount]:
    mounts = []
    for line in read_text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if kind and kind[0] in {"cgroup", _V2}:
            mounts.append(
                _Mount(
                    point=root / fields[4].lstrip("/"),
                    root=PurePosixPath(fields[3]),
                    controllers=frozenset(kind[2].split(",")),
                    is_v2=kind[0] == _V2,
                )
            )
    return mounts


def read_text(path: Path) -> str:
    """Return a small file of the kernel's without its white space; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
