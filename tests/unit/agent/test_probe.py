"""Reading the device, from a folder that looks like one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drupelet_agent.resources.probe import resident_bytes, take_snapshot


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


@pytest.mark.parametrize(("word", "throttled"), [("0", False), ("50000", False), ("50005", True), ("4", True)])
def test_throttling_is_read_from_the_firmware(tmp_path: Path, word: str, throttled: bool) -> None:  # noqa: FBT001 - a test's parameter
    lay_out(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": word})
    assert take_snapshot(root=tmp_path).throttled is throttled


def test_what_a_device_does_not_tell_is_absent(tmp_path: Path) -> None:
    assert take_snapshot(root=tmp_path).throttled is None


def test_a_process_that_is_gone_holds_no_memory() -> None:
    assert resident_bytes(2**22 - 1) == 0
    assert resident_bytes() > 0
