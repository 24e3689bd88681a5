from __future__ import annotations

import hashlib
import stat
import zipfile
from pathlib import Path

import pytest

from drupelet_shared.errors import (
    ArchiveError,
    ArchiveSizeError,
    DigestMismatchError,
    DuplicateEntryError,
    LinkEntryError,
    TooManyEntriesError,
    UnsafePathError,
)
from drupelet_shared.package.archive import open_archive, write_archive
from drupelet_shared.package.limits import Limits
from support.package.zips import RawEntry, deflate, pack

FILES: dict[str, bytes | Path] = {"b/c.bin": b"\x00" * 100_000, "a.txt": b"text", "b/empty": b""}


def digests_of(files: dict[str, bytes]) -> dict[str, str]:
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


def open_bytes(folder: Path, data: bytes, *, limits: Limits | None = None) -> None:
    path = folder / "crafted.drupe"
    path.write_bytes(data)
    with open_archive(path, limits=limits or Limits()) as archive:
        for name in archive.entries:
            archive.read(name, limit_bytes=2**20)


def test_an_archive_reads_back_what_was_written(tmp_path: Path) -> None:
    write_archive(tmp_path / "x.drupe", FILES)
    with open_archive(tmp_path / "x.drupe") as archive:
        found = {path: archive.read(path, limit_bytes=2**20) for path in archive.entries}
    assert found == FILES


def test_an_extracted_file_has_its_content_and_mode_0644(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"0123456789" * 100_000)
    write_archive(tmp_path / "x.drupe", {"deep/er/file": tmp_path / "large"})
    (tmp_path / "out").mkdir()
    with open_archive(tmp_path / "x.drupe") as archive:
        archive.extract(tmp_path / "out", digests=digests_of({"deep/er/file": b"0123456789" * 100_000}))
    extracted = tmp_path / "out/deep/er/file"
    assert extracted.read_bytes() == b"0123456789" * 100_000
    assert stat.S_IMODE(extracted.stat().st_mode) == 0o644


def test_the_same_files_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    write_archive(tmp_path / "1.drupe", FILES)
    write_archive(tmp_path / "2.drupe", dict(reversed(FILES.items())))
    assert (tmp_path / "1.drupe").read_bytes() == (tmp_path / "2.drupe").read_bytes()


def test_a_file_on_disk_gives_the_same_bytes_as_its_content(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"text")
    (tmp_path / "source").chmod(0o755)
    write_archive(tmp_path / "1.drupe", {"a": b"text"})
    write_archive(tmp_path / "2.drupe", {"a": tmp_path / "source"})
    assert (tmp_path / "1.drupe").read_bytes() == (tmp_path / "2.drupe").read_bytes()


def test_other_zip_tools_read_what_is_written(tmp_path: Path) -> None:
    write_archive(tmp_path / "x.drupe", FILES)
    with zipfile.ZipFile(tmp_path / "x.drupe") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(FILES)
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr >> 16 for info in archive.infolist()} == {stat.S_IFREG | 0o644}
        assert {info.create_system for info in archive.infolist()} == {3}


def test_what_pythons_zipfile_deflates_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.drupe", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", b"text" * 1000)
    with open_archive(tmp_path / "x.drupe") as found:
        assert found.read("a/b.txt", limit_bytes=4000) == b"text" * 1000


def test_a_failed_write_leaves_the_old_archive_and_no_temporary_file(tmp_path: Path) -> None:
    write_archive(tmp_path / "x.drupe", {"a": b"old"})
    before = (tmp_path / "x.drupe").read_bytes()
    with pytest.raises(ArchiveError, match="missing"):
        write_archive(tmp_path / "x.drupe", {"a": b"new", "b": tmp_path / "missing"})
    assert (tmp_path / "x.drupe").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "x.drupe"]


@pytest.mark.parametrize("path", ["/abs", "../up", "a/../b", "a\\b", "C:x", ".hidden", "a//b", "a/", "", "ä", "a\nb"])
def test_a_path_that_readers_refuse_is_not_written(tmp_path: Path, path: str) -> None:
    with pytest.raises(UnsafePathError):
        write_archive(tmp_path / "x.drupe", {path: b""})
    assert not (tmp_path / "x.drupe").exists()


UNSAFE_NAMES = {
    "absolute": b"/etc/passwd",
    "climbing": b"../outside",
    "climbing in the middle": b"a/../../outside",
    "backslashes": b"..\\outside",
    "a drive letter": b"C:outside",
    "a dot segment": b"a/./b",
    "an empty segment": b"a//b",
    "a folder": b"a/",
    "an empty name": b"",
    "a NUL": b"a\x00b",
    "a line break": b"a\nb",
    "an escape sequence": b"a\x1b[2Jb",
    "not UTF-8": b"a\xff",
    "not ASCII": "é".encode(),
    "hidden": b".ssh",
    "a leading hyphen": b"-rf",
    "a trailing line break": b"a\n",
}


@pytest.mark.parametrize("name", UNSAFE_NAMES.values(), ids=UNSAFE_NAMES.keys())
def test_an_unsafe_path_is_refused(tmp_path: Path, name: bytes) -> None:
    with pytest.raises(UnsafePathError):
        open_bytes(tmp_path, pack([RawEntry(name=b"fine"), RawEntry(name=name)]))


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    # A short companion keeps the directory's size under what its two entries may have.
    with pytest.raises(UnsafePathError, match="256 characters: the limit is 255"):
        open_bytes(tmp_path, pack([RawEntry(name=b"a"), RawEntry(name=b"a" * 256)]))


@pytest.mark.parametrize(
    "mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR]
)
def test_a_link_or_special_file_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(LinkEntryError):
        open_bytes(tmp_path, pack([RawEntry(name=b"a", content=b"/etc/passwd", mode=mode)]))


def test_a_dos_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LinkEntryError):
        open_bytes(tmp_path, pack([RawEntry(name=b"a", mode=0, dos_attributes=0x10)]))


@pytest.mark.parametrize("other", [b"dir/a", b"dir/A", b"dir", b"DIR"])
def test_paths_that_collide_are_refused(tmp_path: Path, other: bytes) -> None:
    with pytest.raises(DuplicateEntryError):
        open_bytes(tmp_path, pack([RawEntry(name=b"dir/a"), RawEntry(name=other)]))


def test_more_entries_than_the_limit_are_refused(tmp_path: Path) -> None:
    entries = [RawEntry(name=f"f{index}".encode()) for index in range(3)]
    with pytest.raises(TooManyEntriesError, match="3 files: the limit is 2"):
        open_bytes(tmp_path, pack(entries), limits=Limits(entries=2))


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveSizeError, match="8 bytes: the limit is 7"):
        open_bytes(tmp_path, pack([RawEntry(name=b"a", content=b"12345678")]), limits=Limits(file_bytes=7))


def test_files_over_the_limit_together_are_refused(tmp_path: Path) -> None:
    entries = [RawEntry(name=b"a", content=b"1234"), RawEntry(name=b"b", content=b"1234")]
    with pytest.raises(ArchiveSizeError, match="8 bytes: the limit is 7"):
        open_bytes(tmp_path, pack(entries), limits=Limits(total_bytes=7))


def test_an_entry_that_grows_past_its_declared_size_is_cut_off(tmp_path: Path) -> None:
    bomb = RawEntry(name=b"bomb", content=b"0" * 10, data=deflate(b"0" * 50_000_000))
    with pytest.raises(ArchiveSizeError, match="more than the 10 bytes"):
        open_bytes(tmp_path, pack([bomb]))


DAMAGED = {
    "encrypted": RawEntry(name=b"a", flags=0x0001),
    "a data descriptor": RawEntry(name=b"a", flags=0x0008),
    "patched data": RawEntry(name=b"a", flags=0x0020),
    "stored": RawEntry(name=b"a", method=0),
    "bzip2": RawEntry(name=b"a", method=12),
    "an unknown method": RawEntry(name=b"a", method=99),
    "a local extra field": RawEntry(name=b"a", local_extra=b"up\x04\x00evil"),
    "another local name": RawEntry(name=b"a", local_name=b"b"),
    "a longer local name": RawEntry(name=b"a", local_name=b"ab"),
    "another local size": RawEntry(name=b"a", local_size=3),
    "other local flags": RawEntry(name=b"a", local_flags=1),
    "a wrong CRC": RawEntry(name=b"a", crc=1),
    "less than declared": RawEntry(name=b"a", size=8),
    "data that is not DEFLATE": RawEntry(name=b"a", data=b"\xff\xff\xff"),
    "data that is cut off": RawEntry(name=b"a", content=b"0123456789" * 9, data=deflate(b"0123456789" * 9)[:-4]),
    "bytes after the data": RawEntry(name=b"a", data=deflate(b"content") + b"hidden"),
    "no data": RawEntry(name=b"a", data=b""),
    "an offset in the directory": RawEntry(name=b"a", offset=60),
}


@pytest.mark.parametrize("entry", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_entry_is_refused(tmp_path: Path, entry: RawEntry) -> None:
    with pytest.raises(ArchiveError):
        open_bytes(tmp_path, pack([entry]))


@pytest.mark.parametrize("entry", [RawEntry(name=b"a", extra=b"evil"), RawEntry(name=b"a", comment=b"x")])
def test_an_extra_field_or_comment_is_refused_by_name(tmp_path: Path, entry: RawEntry) -> None:
    with pytest.raises(ArchiveError, match="entry 'a' has an extra field, a comment"):
        open_bytes(tmp_path, pack([entry]))


def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="starts at byte 0"):
        open_bytes(tmp_path, pack([RawEntry(name=b"a"), RawEntry(name=b"b", offset=0)]))


LAYOUTS = {
    "bytes before": pack([RawEntry(name=b"a")], prefix=b"#!/bin/sh\n"),
    "bytes between": pack([RawEntry(name=b"a")], gap=b"hidden"),
    "a comment": pack([RawEntry(name=b"a")], comment=b"hidden"),
    "a comment that is not there": pack([RawEntry(name=b"a")])[:-2] + b"\x06\x00",
    "bytes after": pack([RawEntry(name=b"a")]) + b"hidden",
    "fewer entries counted": pack([RawEntry(name=b"a"), RawEntry(name=b"b")], count=1),
    "more entries counted": pack([RawEntry(name=b"a")], count=2),
    "ZIP64": pack([RawEntry(name=b"a")], count=0xFFFF),
    "nothing": b"",
    "no archive": b"PK" * 500,
}


@pytest.mark.parametrize("data", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_file_that_is_not_exactly_its_entries_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ArchiveError):
        open_bytes(tmp_path, data)


def test_an_archive_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = pack([RawEntry(name=b"a"), RawEntry(name=b"b")])
    for length in range(len(whole)):
        with pytest.raises(ArchiveError):
            open_bytes(tmp_path, whole[:length])


def test_the_crafted_archives_are_readable_but_for_their_fault(tmp_path: Path) -> None:
    open_bytes(tmp_path, pack([RawEntry(name=b"a"), RawEntry(name=b"dir/b", flags=0x0800, mode=0)]))


def test_an_archive_that_is_not_there_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="No such file"), open_archive(tmp_path / "none.drupe"):
        pass


def test_a_file_with_another_digest_is_refused(tmp_path: Path) -> None:
    write_archive(tmp_path / "x.drupe", {"a": b"text"})
    (tmp_path / "out").mkdir()
    with open_archive(tmp_path / "x.drupe") as archive, pytest.raises(DigestMismatchError):
        archive.extract(tmp_path / "out", digests={"a": "0" * 64})


def test_a_folder_that_cannot_be_written_is_our_error(tmp_path: Path) -> None:
    write_archive(tmp_path / "x.drupe", {"a": b"text"})
    with open_archive(tmp_path / "x.drupe") as archive, pytest.raises(ArchiveError):
        archive.extract(tmp_path / "x.drupe", digests=digests_of({"a": b"text"}))
