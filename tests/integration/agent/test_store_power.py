"""The store after it was cut off anywhere: nothing lost, nothing half active, and the next try succeeds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.package.served_packages import make_package

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    for release in (1, 2, 3):
        make_package(folder, None, release=release)
    return folder


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a kill loses nothing of what the kernel has, so the disk plays no part."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def run_program(module: str, *words: Path, within: Sequence[str] = ()) -> dict[str, Any]:
    """A program of the tests' own, in a process with one thread; what it prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])}
    command = [*within, sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_a_kill_at_any_system_call_that_changes_files_loses_nothing_and_leaves_nothing_half_active(
    packages: Path, quick_folder: Path
) -> None:
    found = run_program("support.store.kill_points", packages, quick_folder)
    points = {name: tried["points"] for name, tried in found.items()}
    sys.stdout.write(f"{sum(points.values())} kill points: 0 lost, 0 half active; {points}\n")
    assert len(points) == 12
    assert sum(points.values()) > 300
    assert all(count > 3 for count in points.values()), points


@pytest.mark.slow
def test_whatever_a_power_cut_leaves_of_what_was_not_synced_one_whole_release_is_active(
    packages: Path, quick_folder: Path
) -> None:
    found = run_program("support.store.power_cuts", packages, quick_folder)
    states = {name: tried["states"] for name, tried in found.items()}
    sys.stdout.write(f"{sum(states.values())} states of the disk: 0 lost, 0 half active; {states}\n")
    assert len(states) == 12
    assert all(count > 2 for count in states.values()), states
    # What an activation costs the card, beside the package itself: its record and what was measured.
    assert found["activate 3"]["syncs"] == 2
    assert found["activate 3"]["written_bytes"] < 10_000
    assert found["install 2"]["syncs"] < 20
    sys.stdout.write(f"{ {name: (tried['syncs'], tried['written_bytes']) for name, tried in found.items()} }\n")


NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def has_namespaces() -> bool:
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_namespaces(), reason="a small disk of its own needs user namespaces")
def test_a_full_disk_is_an_error_with_numbers_and_what_was_active_stays_so(packages: Path, tmp_path: Path) -> None:
    found = run_program("support.store.full_disk", packages, tmp_path, within=NAMESPACE)
    needs = {name: tried["needs_bytes"] for name, tried in found.items()}
    messages = {message for tried in found.values() for message in tried["messages"]}
    sys.stdout.write(f"room needed: {needs}\n{messages}\n")
    assert all(count > 0 for count in needs.values()), needs
    assert all("store_full" in message or "archive_no_space" in message for message in messages)
    assert all(re.search(r"\d+ bytes|[\d.]+ [KM]?B", message) for message in messages), messages
