"""The beginning of a download on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drupelet_agent.delivery.partial import Partial


@pytest.fixture
def partial(tmp_path: Path) -> Partial:
    return Partial(tmp_path / "a.part")


def test_a_download_that_has_not_begun_has_no_bytes_and_no_version(partial: Partial) -> None:
    assert (partial.received, partial.validator) == (0, None)


def test_it_remembers_the_version_that_its_bytes_are_of(partial: Partial) -> None:
    partial.begin('"v1"')
    partial.path.write_bytes(b"12345")
    again = Partial(partial.path)
    assert (again.received, again.validator) == (5, '"v1"')


def test_beginning_again_drops_the_bytes(partial: Partial) -> None:
    partial.begin('"v1"')
    partial.path.write_bytes(b"12345")
    partial.begin(None)
    assert (partial.received, partial.validator) == (0, None)


@pytest.mark.parametrize("note", ["{", "[]", "{}", '{"validator": 7}', "null"])
def test_a_damaged_note_names_no_version(partial: Partial, note: str) -> None:
    partial.begin('"v1"')
    partial.path.with_suffix(".json").write_text(note, encoding="utf-8")
    assert partial.validator is None


def test_discarding_removes_the_file_and_its_note_and_may_be_repeated(partial: Partial, tmp_path: Path) -> None:
    partial.begin('"v1"')
    for _ in range(2):
        partial.discard()
        assert list(tmp_path.iterdir()) == []


def test_of_the_other_downloads_the_latest_are_kept(partial: Partial, tmp_path: Path) -> None:
    partial.begin(None)
    for age, name in enumerate(["new", "middle", "old"]):
        other = Partial(tmp_path / f"{name}.part")
        other.begin(None)
        os.utime(other.path, (1000 - age, 1000 - age))
    partial.discard_others(keep=1)
    assert sorted(path.name for path in tmp_path.glob("*.part")) == ["a.part", "new.part"]
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["a.json", "new.json"]
