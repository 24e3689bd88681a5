"""What can be read of a store without its lock."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from drupelet_agent.errors import ReleaseTooOldError
from drupelet_agent.store.layout import StoreLayout
from drupelet_agent.store.reader import StoreReader
from drupelet_agent.store.records import ModelRecord
from drupelet_agent.store.store import Store
from support.agent.values import make_activation


@pytest.fixture
def reader(tmp_path: Path) -> StoreReader:
    Store(tmp_path).create()
    return StoreReader(StoreLayout(tmp_path))


def write(reader: StoreReader, model: str, record: ModelRecord) -> None:
    reader.layout.record(model).write_text(record.model_dump_json(), encoding="utf-8")


def test_models_are_named_in_order_and_temporary_files_are_none(reader: StoreReader) -> None:
    for model in ("faces", "digits"):
        write(reader, model, ModelRecord())
    (reader.layout.models / ".digits.json").write_text("{", encoding="utf-8")
    assert reader.models() == ("digits", "faces")


def test_a_model_that_was_removed_is_not_active(reader: StoreReader) -> None:
    write(reader, "digits", ModelRecord(highest_release=3))
    write(reader, "faces", ModelRecord(active=make_activation("faces")))
    assert reader.active() == {"faces": make_activation("faces")}


def test_a_model_without_a_record_was_never_changed(reader: StoreReader) -> None:
    assert reader.changed_s("digits") == 0.0
    write(reader, "digits", ModelRecord())
    os.utime(reader.layout.record("digits"), (7.0, 7.0))
    assert reader.changed_s("digits") == 7.0


def test_the_free_space_is_that_of_the_file_system(reader: StoreReader) -> None:
    usage = shutil.disk_usage(reader.root)
    assert 0 < reader.free_bytes() < usage.total


@pytest.mark.parametrize(("flags", "read_only"), [(0, False), (1, True), (2, False), (0x1003, True)])
def test_a_read_only_mount_is_told_by_its_flag_alone(
    reader: StoreReader,
    monkeypatch: pytest.MonkeyPatch,
    flags: int,
    read_only: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    # ST_RDONLY is 1; no test may mount a file system of its own.
    real = list(os.statvfs(reader.root))
    real[8] = flags
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(real))
    assert reader.is_read_only() is read_only


class TestCheckRelease:
    """A record with release 5 as the highest, rolled back to release 3."""

    RECORD = ModelRecord(
        highest_release=5,
        highest_digest="5" * 64,
        active=make_activation(release=3, digest="3" * 64),
        staged=make_activation(release=5, digest="9" * 64),
    )

    @pytest.mark.parametrize(("release", "digest"), [(6, "6" * 64), (5, "5" * 64), (5, "9" * 64)])
    def test_a_newer_release_and_the_highest_itself_are_accepted(
        self, reader: StoreReader, release: int, digest: str
    ) -> None:
        write(reader, "digits", self.RECORD)
        reader.check_release("digits", release=release, digest=digest)

    @pytest.mark.parametrize(("release", "digest"), [(5, "4" * 64), (5, "f" * 64), (4, "4" * 64), (3, "3" * 64)])
    def test_a_lower_release_and_other_content_of_the_highest_are_refused(
        self, reader: StoreReader, release: int, digest: str
    ) -> None:
        write(reader, "digits", self.RECORD)
        with pytest.raises(ReleaseTooOldError, match=f"release {release}: this device has activated release 5"):
            reader.check_release("digits", release=release, digest=digest)

    def test_a_first_package_is_accepted(self, reader: StoreReader) -> None:
        reader.check_release("digits", release=1, digest="1" * 64)
