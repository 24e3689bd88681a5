"""Reading the device, from a folder that looks like one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drupelet_agent.device.cgroups import MemoryLimit, cpu_quota, memory_limit
from drupelet_agent.device.probe import resident_bytes, take_snapshot


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_a_raspberry_pi_is_named_by_its_board(tmp_path: Path) -> None:
    lay_out(tmp_path, {"proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0", "proc/cpuinfo": "Model : other"})
    assert take_snapshot(root=tmp_path).cpu_model == "Raspberry Pi 4 Model B Rev 1.4"


def test_another_machine_is_named_by_its_processor(tmp_path: Path) -> None:
    lay_out(tmp_path, {"proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU @ 2GHz\n"})
    assert take_snapshot(root=tmp_path).cpu_model == "Some CPU @ 2GHz"


@pytest.mark.parametrize(
    ("membership", "files"),
    [
        ("0::/a/b", {"sys/fs/cgroup/a/cpu.max": "100000 100000"}),
        ("0::/a/b", {"sys/fs/cgroup/a/b/cpu.max": "50000 100000"}),
        (
            "4:cpu,cpuacct:/a",
            {"sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "100000", "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000"},
        ),
    ],
)
def test_a_cpu_quota_limits_the_cores(tmp_path: Path, membership: str, files: dict[str, str]) -> None:
    lay_out(tmp_path, {"proc/self/cgroup": membership, **files})
    assert take_snapshot(root=tmp_path).cores == 1


def test_the_smallest_quota_up_the_tree_counts(tmp_path: Path) -> None:
    quotas = {"a": "150000 100000", "a/b": "400000 100000", "a/b/c": "max 100000"}
    files = {f"sys/fs/cgroup/{group}/cpu.max": text for group, text in quotas.items()}
    lay_out(tmp_path, {"proc/self/cgroup": "0::/a/b/c", **files})
    assert cpu_quota(tmp_path) == 1.5


@pytest.mark.parametrize("files", [{}, {"proc/self/cgroup": "0::/"}, {"proc/self/cgroup": "4:cpu:/a\n0::/"}])
def test_without_control_groups_or_quotas_there_is_no_limit(tmp_path: Path, files: dict[str, str]) -> None:
    lay_out(tmp_path, files)
    assert cpu_quota(tmp_path) is None
    assert memory_limit(tmp_path) is None


HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /box /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_both_versions_at_once_are_read_where_they_are_mounted(tmp_path: Path) -> None:
    files = {
        "proc/self/mountinfo": HYBRID,
        "proc/self/cgroup": "9:memory:/box/a\n4:cpu,cpuacct:/x\n0::/service",
        "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "300000",
        "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "90000000",
        # A container sees its own group as the root of the mount.
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "80000000",
        "sys/fs/cgroup/unified/service/cpu.max": "250000 100000",
    }
    lay_out(tmp_path, files)
    assert cpu_quota(tmp_path) == 2.5
    limit = memory_limit(tmp_path)
    assert limit is not None
    assert limit.limit_bytes == 80_000_000


def test_a_group_outside_of_what_is_mounted_is_read_at_the_mount_point(tmp_path: Path) -> None:
    files = {
        "proc/self/mountinfo": "41 31 0:38 /box /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        "proc/self/cgroup": "0::/../other",
        "sys/fs/cgroup/memory.max": "70000000",
    }
    limit = memory_limit(lay_out(tmp_path, files))
    assert limit is not None
    assert limit.limit_bytes == 70_000_000


def test_an_unlimited_quota_leaves_every_core_of_the_affinity(tmp_path: Path) -> None:
    lay_out(tmp_path, {"proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/cpu.max": "max 100000"})
    assert take_snapshot(root=tmp_path).cores == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("membership", "path"),
    [("0::/a/b", "sys/fs/cgroup/a/memory.max"), ("9:memory:/a", "sys/fs/cgroup/memory/a/memory.limit_in_bytes")],
)
def test_a_cgroup_limits_the_memory(tmp_path: Path, membership: str, path: str) -> None:
    lay_out(tmp_path, {"proc/self/cgroup": membership, path: "64000000"})
    snapshot = take_snapshot(root=tmp_path)
    assert snapshot.memory_total_bytes == 64_000_000
    assert snapshot.memory_available_bytes <= 64_000_000


@pytest.mark.parametrize(
    ("limit", "used", "stat"),
    [
        ("memory.max", "memory.current", "anon 1\ninactive_file 10000000\n"),
        ("memory.high", "memory.current", "anon 1\ninactive_file 10000000\n"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "inactive_file 1\ntotal_inactive_file 10000000\n"),
    ],
)
def test_what_is_left_of_a_limit_counts_cache_that_can_be_dropped(
    tmp_path: Path, limit: str, used: str, stat: str
) -> None:
    group = "sys/fs/cgroup/memory/a" if "bytes" in limit else "sys/fs/cgroup/a"
    membership = "9:memory:/a" if "bytes" in limit else "0::/a"
    files = {f"{group}/{limit}": "64000000", f"{group}/{used}": "50000000", f"{group}/memory.stat": stat}
    lay_out(tmp_path, {"proc/self/cgroup": membership, **files})
    assert memory_limit(tmp_path) == MemoryLimit(limit_bytes=64_000_000, left_bytes=24_000_000)
    assert take_snapshot(root=tmp_path).memory_available_bytes == 24_000_000


def snapshot_of_another_process(before: str) -> dict[str, int]:
    """What a process finds that first does something to itself."""
    code = f"""
import json, os, pathlib
{before}
from drupelet_agent.device.probe import take_snapshot
found = take_snapshot()
print(json.dumps({{"cores": found.cores, "memory": found.memory_total_bytes}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def test_a_cpuset_of_one_core_is_one_core() -> None:
    assert snapshot_of_another_process("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})")["cores"] == 1


@pytest.fixture
def limited_group() -> Iterator[Path]:
    """A real control group of 256 MiB, where this machine has a writable memory controller of version 1."""
    line = next((one for one in Path("/proc/self/cgroup").read_text("utf-8").splitlines() if ":memory:" in one), None)
    if line is None:
        pytest.skip("no memory controller of version 1 here")
    group = Path("/sys/fs/cgroup/memory") / line.split(":", 2)[2].lstrip("/") / f"drupelet-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    try:
        (group / "memory.limit_in_bytes").write_text(str(256 * 2**20), encoding="utf-8")
        yield group
    finally:
        group.rmdir()


def test_a_real_control_group_limits_the_memory(limited_group: Path) -> None:
    enter = f"pathlib.Path({str(limited_group / 'cgroup.procs')!r}).write_text(str(os.getpid()))"
    assert snapshot_of_another_process(enter)["memory"] == 256 * 2**20


@pytest.mark.parametrize(("word", "throttled"), [("0", False), ("50000", False), ("50005", True), ("4", True)])
def test_throttling_is_read_from_the_firmware(tmp_path: Path, word: str, throttled: bool) -> None:  # noqa: FBT001 - a test's parameter
    lay_out(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": word})
    assert take_snapshot(root=tmp_path).throttled is throttled


def test_what_a_device_does_not_tell_is_absent(tmp_path: Path) -> None:
    assert take_snapshot(root=tmp_path).throttled is None


def test_a_process_that_is_gone_holds_no_memory() -> None:
    assert resident_bytes(2**22 - 1) == 0
    assert resident_bytes() > 0
