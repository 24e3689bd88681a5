"""When a turn of measuring may begin, and which turns count."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from drupelet_agent.measuring.gate import ServingGate
from drupelet_agent.measuring.quiet import QuietTime
from drupelet_shared.errors import MeasuringPausedError


@pytest.fixture
def gate() -> Iterator[ServingGate]:
    gate = ServingGate()
    yield gate
    gate.close()


def quiet_time(
    gate: ServingGate,
    *,
    is_throttled: Callable[[], bool] = lambda: False,
    is_measuring: Callable[[], bool] = lambda: False,
    max_wait_s: float = 60.0,
    observe: Callable[[str], None] = lambda _: None,
) -> QuietTime:
    return QuietTime(gate, is_throttled=is_throttled, is_measuring=is_measuring, max_wait_s=max_wait_s, observe=observe)


def answers(values: list[bool]) -> Callable[[], bool]:
    remaining = list(values)
    return lambda: remaining.pop(0) if len(remaining) > 1 else remaining[0]


def test_another_process_sees_what_is_served_and_is_seen_measuring(gate: ServingGate) -> None:
    gate.request_started()
    gate.request_started()
    gate.request_finished()
    script = (
        "import sys; from drupelet_agent.measuring.gate import ServingGate; gate = ServingGate(int(sys.argv[1]));"
        "state = gate.read(); print(state.started, state.finished, state.held, state.is_busy); gate.note_turn()"
    )
    assert not gate.measured_within(3600)
    words = [sys.executable, "-c", script, str(gate.descriptor)]
    result = subprocess.run(words, pass_fds=(gate.descriptor,), capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["2", "1", "False", "True"]
    assert gate.measured_within(3600)


def test_a_turn_begins_at_once_while_the_device_is_quiet(gate: ServingGate) -> None:
    quiet = quiet_time(gate)
    before = quiet.wait()
    assert not quiet.was_disturbed(before, 0.05)
    assert quiet.waits_s == {}


def test_a_turn_waits_until_the_request_is_answered(gate: ServingGate) -> None:
    gate.request_started()
    quiet = quiet_time(gate)
    timer = threading.Timer(0.05, gate.request_finished)
    timer.start()
    assert quiet.wait().finished == 1
    timer.join()
    assert quiet.waits_s["requests"] > 0


def test_a_turn_in_which_a_request_came_does_not_count_even_if_it_is_answered(gate: ServingGate) -> None:
    quiet = quiet_time(gate)
    before = quiet.wait()
    gate.request_started()
    gate.request_finished()
    assert quiet.was_disturbed(before, 0.05)
    assert quiet.waits_s == {"requests": 0.05}


def test_a_held_gate_opens_by_itself(gate: ServingGate) -> None:
    gate.hold(0.05)
    assert gate.read().held
    quiet = quiet_time(gate)
    quiet.wait()
    assert not gate.read().held
    assert quiet.waits_s["contract"] > 0


def test_turns_wait_while_the_board_is_throttled_and_those_it_interrupted_do_not_count(gate: ServingGate) -> None:
    quiet = quiet_time(gate, is_throttled=answers([True, True, False, True]))
    before = quiet.wait()
    assert quiet.waits_s["throttled"] > 0
    assert quiet.was_disturbed(before, 0.5)
    assert quiet.waits_s["throttled"] > 0.5


def test_an_installation_that_measures_goes_first(gate: ServingGate) -> None:
    quiet = quiet_time(gate, is_measuring=answers([True, True, False]))
    quiet.wait()
    assert quiet.waits_s["measuring"] > 0


def test_a_device_that_is_never_quiet_ends_the_measurement_with_the_longest_reason(gate: ServingGate) -> None:
    gate.request_started()
    quiet = quiet_time(gate, max_wait_s=0.05)
    with pytest.raises(MeasuringPausedError, match="because requests are being answered"):
        quiet.wait()


def test_waiting_is_reported_once_a_second(gate: ServingGate) -> None:
    reports: list[str] = []
    gate.request_started()

    def observe(report: str) -> None:
        reports.append(report)
        gate.request_finished()

    quiet_time(gate, observe=observe).wait()
    assert len(reports) == 1
    assert "requests are being answered" in reports[0]


def test_the_page_is_given_back() -> None:
    other = ServingGate()
    other.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(other.descriptor)
