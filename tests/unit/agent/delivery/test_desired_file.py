"""Desired states: read from messages, kept on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drupelet_agent.delivery.desired_file import load_desired, read_desired, save_desired
from drupelet_shared.contract.delivery import MAX_DESIRED_BYTES, DesiredState
from drupelet_shared.errors import DesiredStateError, SourceError

STATES = {
    "faces": DesiredState(version="2.0.0", source="https://host/faces.drupe?token=secret"),
    "digits": DesiredState(digest="a" * 64, source=f"upload:{'b' * 64}"),
}


def payload(**members: object) -> bytes:
    return json.dumps(members).encode()


def test_a_message_names_a_package_and_its_source() -> None:
    state = read_desired("digits", payload(version="1.0.0", source="https://host/x"))
    assert state == DesiredState(version="1.0.0", source="https://host/x")


@pytest.mark.parametrize("message", [b"{", b"[]", payload(source="https://host/x"), payload(version="1.0.0")])
def test_a_malformed_message_is_refused_with_the_name_of_the_model(message: bytes) -> None:
    with pytest.raises(DesiredStateError, match="desired state of digits"):
        read_desired("digits", message)


def test_a_message_beyond_the_limit_is_refused_unread() -> None:
    message = payload(version="1.0.0", source="https://host/x")
    assert read_desired("digits", message + b" " * (MAX_DESIRED_BYTES - len(message)))
    with pytest.raises(DesiredStateError, match=f"{MAX_DESIRED_BYTES + 1} bytes, the limit is {MAX_DESIRED_BYTES}"):
        read_desired("digits", message + b" " * (MAX_DESIRED_BYTES + 1 - len(message)))


def test_a_source_with_a_password_is_refused() -> None:
    with pytest.raises(SourceError):
        read_desired("digits", payload(version="1.0.0", source="https://me:hunter2@host/x"))


def test_states_come_back_as_they_were_and_only_the_agent_can_read_them(tmp_path: Path) -> None:
    path = tmp_path / "desired.json"
    save_desired(path, STATES)
    assert load_desired(path) == STATES
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["desired.json"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"digits": 7}', '{"digits": {"version": "1", "source": "https://me:hunter2@host/x"}}'],
)
def test_a_damaged_file_holds_no_states(tmp_path: Path, content: str) -> None:
    path = tmp_path / "desired.json"
    path.write_text(content, encoding="utf-8")
    assert load_desired(path) == {}


def test_a_file_that_is_missing_holds_no_states(tmp_path: Path) -> None:
    assert load_desired(tmp_path / "missing") == {}


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        save_desired(tmp_path / "missing/desired.json", STATES)
