"""Incoming files on disk: their limits, their room, and what becomes of those that nobody continues."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from drupelet_agent.config.packages import DeliveryConfig
from drupelet_agent.delivery.spool import Spool
from drupelet_agent.errors import PackageTooLargeError, StoreError, StoreFullError, TooManyUploadsError
from drupelet_shared.errors import UploadError

DATA = bytes(range(256)) * 8
DIGEST = hashlib.sha256(DATA).hexdigest()


def spool(folder: Path, *, max_package: int = 2**20, uploads: int = 2, reserve: int = 1, keep_s: float = 60) -> Spool:
    config = DeliveryConfig(max_package=max_package, uploads=uploads, reserve=reserve, keep_s=keep_s)
    return Spool(folder / "incoming", config)


def test_a_file_that_came_in_pieces_is_whole(tmp_path: Path) -> None:
    incoming = spool(tmp_path)
    assert incoming.received(DIGEST, len(DATA)) == 0
    assert incoming.append(DIGEST, len(DATA), offset=0, chunk=DATA[:1000]) == 1000
    assert incoming.append(DIGEST, len(DATA), offset=1000, chunk=DATA[1000:]) == len(DATA)
    assert incoming.whole(DIGEST).read_bytes() == DATA
    assert incoming.append(DIGEST, len(DATA), offset=0, chunk=DATA[:1000]) == len(DATA)


def test_a_partial_file_survives_its_process(tmp_path: Path) -> None:
    spool(tmp_path).append(DIGEST, len(DATA), offset=0, chunk=DATA[:700])
    assert spool(tmp_path).received(DIGEST, len(DATA)) == 700


def test_another_size_for_the_same_digest_is_refused(tmp_path: Path) -> None:
    incoming = spool(tmp_path)
    incoming.received(DIGEST, len(DATA))
    with pytest.raises(UploadError, match="another size"):
        incoming.received(DIGEST, len(DATA) + 1)


def test_a_file_larger_than_the_limit_is_refused_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(PackageTooLargeError, match=r"has 2\.0 KB: the limit is 1\.0 KB"):
        spool(tmp_path, max_package=1000).received(DIGEST, len(DATA))
    assert not (tmp_path / "incoming").exists()


def test_a_file_that_does_not_fit_is_refused_before_a_byte_is_taken(tmp_path: Path) -> None:
    with pytest.raises(StoreFullError, match=r"needs 2\.0 KB: .* are free, of which .* must stay free"):
        spool(tmp_path, reserve=2**60).received(DIGEST, len(DATA))
    assert list((tmp_path / "incoming").iterdir()) == []


def test_one_more_file_takes_the_place_of_the_one_that_nobody_continues(tmp_path: Path) -> None:
    before = spool(tmp_path)
    for number, age_s in ((1, 30), (2, 40)):
        before.append(f"{number:064x}", 10, offset=0, chunk=b"12345")
        path = tmp_path / f"incoming/{number:064x}.10.part"
        os.utime(path, (time.time() - age_s,) * 2)
    spool(tmp_path).received(f"{3:064x}", 10)
    assert sorted(int(path.name[:64], 16) for path in (tmp_path / "incoming").iterdir()) == [1, 3]


def test_files_that_arrive_at_this_moment_are_not_made_room_of(tmp_path: Path) -> None:
    incoming = spool(tmp_path, uploads=2)
    for number in (1, 2):
        incoming.append(f"{number:064x}", 10, offset=0, chunk=b"12345")
    with pytest.raises(TooManyUploadsError, match="2 uploads are being received already"):
        incoming.received(f"{3:064x}", 10)


def test_what_is_old_is_collected_and_what_is_at_work_is_not(tmp_path: Path) -> None:
    incoming = spool(tmp_path, uploads=8)
    spool(tmp_path).append(f"{1:064x}", 10, offset=0, chunk=b"0123456789")
    incoming.append(f"{2:064x}", 10, offset=0, chunk=b"12345")
    for path in (tmp_path / "incoming").iterdir():
        os.utime(path, (0, 0))
    incoming.collect()
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == [f"{2:064x}.10.part"]


def test_a_folder_that_cannot_be_made_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file/incoming"):
        spool(tmp_path / "file").received(DIGEST, len(DATA))
