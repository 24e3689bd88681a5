"""Locks on files: exclusive, waited for, and released when the block or the process ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from drupelet_agent.errors import StoreBusyError, StoreError
from drupelet_agent.store.locks import exclusive_folder_lock, exclusive_lock, is_locked


def lock(path: Path, *, timeout_s: float = 0.0) -> object:
    return exclusive_lock(path, what="store X", activity="changing it", timeout_s=timeout_s)


def test_a_folder_is_locked_itself_and_nothing_is_created_in_it(tmp_path: Path) -> None:
    def hold() -> object:
        return exclusive_folder_lock(tmp_path, what="state_dir X", activity="serving from it", timeout_s=0.0)

    with hold(), pytest.raises(StoreBusyError, match="state_dir X: another process is serving from it"), hold():
        pass
    with hold():
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def test_a_lock_is_held_until_its_block_ends(path: Path) -> None:
    with lock(path):
        assert is_locked(path)
    assert not is_locked(path)


def test_a_lock_is_released_when_its_block_raises(path: Path) -> None:
    with pytest.raises(RuntimeError), lock(path):
        raise RuntimeError
    assert not is_locked(path)


def test_a_second_holder_is_refused_with_what_the_first_does(path: Path) -> None:
    with lock(path), pytest.raises(StoreBusyError, match="store X: another process is changing it"), lock(path):
        pass


def test_a_holder_that_ends_within_the_timeout_is_waited_for(path: Path) -> None:
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with lock(path):
            held.set()
            release.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    # The second holder asks at least once while the first holds the lock, as its first attempt precedes the release.
    timer = threading.Timer(0.2, release.set)
    timer.start()
    with lock(path, timeout_s=30.0):
        assert release.is_set()
    holder.join()
    timer.join()


def test_a_lock_ends_with_the_process_that_holds_it(path: Path) -> None:
    script = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_CREAT), fcntl.LOCK_EX); print(1, flush=True)"
    waiting = f"{script}; sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", waiting, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert is_locked(path)
        process.kill()
    assert not is_locked(path)


def test_several_may_ask_at_once_whether_a_lock_is_held(path: Path) -> None:
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert not is_locked(path)
        assert not is_locked(path)
    finally:
        os.close(descriptor)


def test_the_file_is_created_readable_for_everybody_and_never_written(path: Path) -> None:
    before = os.umask(0o022)
    try:
        with lock(path):
            pass
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_bytes() == b""


def test_an_existing_lock_keeps_its_content(path: Path) -> None:
    path.write_bytes(b"kept")
    with lock(path):
        pass
    assert path.read_bytes() == b"kept"


def test_a_lock_is_not_inherited_by_a_program_that_the_holder_starts(path: Path) -> None:
    with lock(path):
        script = "import sys; print(1, flush=True); sys.stdin.read()"
        child = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False
        )
        assert child.stdout is not None
        child.stdout.readline()
    try:
        assert not is_locked(path)
    finally:
        child.communicate()


def test_a_lock_that_does_not_exist_is_not_held_and_not_created(path: Path) -> None:
    assert not is_locked(path)
    assert not path.exists()


def test_a_folder_that_does_not_exist_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="missing"), lock(tmp_path / "missing/lock"):
        pass
