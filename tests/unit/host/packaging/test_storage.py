"""A folder that cannot be written, or has no room, is a message before any work."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from drupelet_host.errors import StorageError
from drupelet_host.packaging.storage import estimate_cache_bytes, full_disk_as_error, require_writable


def test_a_folder_that_can_be_made_is_not_made_yet(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b", what="output folder")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(StorageError, match=r"output folder .*out cannot be written: (Not a directory|File exists)"):
        require_writable(tmp_path / "out", what="output folder")


def test_a_folder_where_nothing_can_be_written_is_named() -> None:
    with pytest.raises(StorageError, match=r"output folder /proc/drupelet cannot be written"):
        require_writable(Path("/proc/drupelet"), what="output folder")


def test_too_little_room_is_said_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cache folder .* has .* free: the compile needs about .*1000000\.0 GB"):
        require_writable(tmp_path, what="cache folder", needed_bytes=10**15)
    assert estimate_cache_bytes(10**9) > 4 * 10**9


def test_a_disk_that_fills_up_is_a_message_and_other_faults_stay(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="No space left on device"),
        full_disk_as_error(tmp_path, what="cache folder"),
    ):
        Path("/dev/full").write_bytes(b"x" * 10_000)
    with pytest.raises(FileNotFoundError), full_disk_as_error(tmp_path, what="cache folder"):
        raise FileNotFoundError(errno.ENOENT, "absent")
