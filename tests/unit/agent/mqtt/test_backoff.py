"""The wait before the next attempt to connect."""

from __future__ import annotations

import random

import pytest

from drupelet_agent.mqtt.link.backoff import LASTED_S, Backoff
from drupelet_agent.mqtt.status import ConnectionProblem as Problem


def ceilings(backoff: Backoff, problem: Problem, count: int) -> list[float]:
    return [backoff.ceiling_s(problem) for _ in range(count)]


@pytest.mark.parametrize(
    ("problem", "expected_s"),
    [
        (Problem.UNREACHABLE, [0.5, 1.5, 4.5, 4.5, 4.5, 4.5]),
        (Problem.CLOSED, [0.5, 1.5, 4.5, 13.5, 30, 30]),
        (Problem.UNSUPPORTED, [0.5, 1.5, 4.5, 13.5, 30, 30]),
        (Problem.ACCOUNT_REFUSED, [0.5, 1.5, 4.5, 13.5, 40.5, 121.5, 300, 300]),
        (Problem.PROTOCOL_VERSION, [0.5, 1.5, 4.5, 13.5, 40.5, 121.5, 300, 300]),
        (Problem.CLIENT_ID_TAKEN, [3, 9, 20, 20]),
    ],
)
def test_the_ceiling_grows_by_three_up_to_the_longest_wait_of_its_problem(
    problem: Problem, expected_s: list[float]
) -> None:
    assert ceilings(Backoff(), problem, len(expected_s)) == expected_s


def test_the_wait_is_drawn_between_0_and_the_ceiling() -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return 0.125

    assert Backoff(uniform=uniform).next_s(Problem.CLOSED) == 0.125
    assert drawn == [(0.0, 0.5)]


@pytest.mark.parametrize(
    ("lasted_s", "next_s"), [(0, 30), (1.9, 30), (2, 13.5), (4.9, 4.5), (7, 1.5), (8, 0.5), (30, 0.5), (1e6, 0.5)]
)
def test_a_connection_takes_back_one_step_every_two_seconds_and_all_once_it_has_lasted(
    lasted_s: float, next_s: float
) -> None:
    backoff = Backoff()
    ceilings(backoff, Problem.CLOSED, 4)
    backoff.connection_ended(lasted_s)
    assert backoff.ceiling_s(Problem.CLOSED) == next_s


def test_a_connection_that_lasted_thirty_seconds_resets_ten_thousand_failures() -> None:
    backoff = Backoff()
    assert ceilings(backoff, Problem.CLOSED, 10_000)[-1] == 30
    backoff.connection_ended(29.9)
    assert backoff.ceiling_s(Problem.CLOSED) == 30
    backoff.connection_ended(30)
    assert backoff.ceiling_s(Problem.CLOSED) == 0.5


def test_a_broker_that_was_away_for_long_lengthens_no_later_wait() -> None:
    backoff = Backoff()
    ceilings(backoff, Problem.UNREACHABLE, 100)
    assert ceilings(backoff, Problem.CLOSED, 2) == [4.5, 13.5]
    assert backoff.ceiling_s(Problem.UNREACHABLE) == 5


def test_a_broker_that_disconnects_at_once_sees_few_connections_in_twenty_seconds() -> None:
    counts = []
    for seed in range(1000):
        backoff, now_s, connections = Backoff(uniform=random.Random(seed).uniform), 0.0, 0
        while now_s < 20:
            connections += 1
            now_s += backoff.next_s(Problem.CLOSED)
        counts.append(connections)
    assert sum(count <= 7 for count in counts) >= 950
    assert sum(counts) / len(counts) < 6


def test_on_a_link_that_drops_every_five_seconds_the_wait_stays_short() -> None:
    backoff = Backoff()
    waits = []
    for _ in range(50):
        waits.append(backoff.ceiling_s(Problem.CLOSED))
        backoff.connection_ended(4.9)
    assert max(waits) <= 1.5


def test_a_client_that_was_taken_over_is_back_within_seconds_and_lengthens_no_other_wait() -> None:
    backoff = Backoff()
    assert ceilings(backoff, Problem.CLIENT_ID_TAKEN, 3)[-1] == 20
    assert backoff.ceiling_s(Problem.CLOSED) == 0.5


@pytest.mark.parametrize(("lasted_s", "next_s"), [(119, 20), (120, 3)])
def test_takeovers_count_until_a_connection_has_lasted_longer_than_their_waits(lasted_s: float, next_s: float) -> None:
    backoff = Backoff()
    ceilings(backoff, Problem.CLIENT_ID_TAKEN, 5)
    backoff.connection_ended(lasted_s)
    assert backoff.ceiling_s(Problem.CLIENT_ID_TAKEN) == next_s


def test_two_clients_with_one_identifier_connect_few_times_in_twenty_seconds() -> None:
    counts = []
    for seed in range(300):
        uniform = random.Random(seed).uniform
        clients = [Backoff(uniform=uniform), Backoff(uniform=uniform)]
        connections, connected, since_s, now_s = [1, 1], 0, 0.0, 0.0
        while now_s < 20:
            waiting = 1 - connected
            now_s += clients[waiting].next_s(Problem.CLIENT_ID_TAKEN)
            clients[connected].connection_ended(now_s - since_s)
            connected, since_s = waiting, now_s
            connections[connected] += 1
        counts.append(max(connections))
    assert sum(count <= 6 for count in counts) >= 285


@pytest.mark.parametrize("lasted_s", [LASTED_S, LASTED_S + 1])
def test_a_connection_that_has_lasted_takes_back_every_failure(lasted_s: float) -> None:
    backoff = Backoff()
    backoff.failures = 1000
    backoff.connection_ended(lasted_s)
    assert backoff.failures == 0
