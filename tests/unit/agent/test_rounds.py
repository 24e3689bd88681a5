"""Periodic work: an error of one round is logged once, and the next round follows."""

from __future__ import annotations

import asyncio
import errno
import logging
from pathlib import Path

import pytest

from drupelet_agent.errors import StoreFullError, store_errors
from drupelet_agent.rounds import Rounds


def play(rounds: Rounds, *errors: Exception | None) -> None:
    for error in errors:
        with rounds.guarded():
            if error is not None:
                raise error


def test_an_error_ends_its_round_alone_and_is_logged_when_it_first_occurs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    play(Rounds("telemetry"), OSError(24, "Too many open files"), OSError(24, "Too many open files"), None, None)
    assert caplog.messages == ["telemetry failed in this round, the next one follows", "telemetry works again"]


def test_another_error_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    play(Rounds("telemetry"), OSError("a"), ValueError("b"), ValueError("b"))
    assert len(caplog.messages) == 2


def test_a_cancelled_round_ends_the_work() -> None:
    with pytest.raises(asyncio.CancelledError), Rounds("telemetry").guarded():
        raise asyncio.CancelledError


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_on_which_not_even_the_folder_could_be_made_is_named(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "incoming/fetched"
    with pytest.raises(StoreFullError, match=r"incoming/fetched: no room: .* are free"), store_errors(folder):
        raise OSError(number, "no room")
