"""When the broker is pinged, and when it is given up."""

from __future__ import annotations

from drupelet_agent.mqtt.link.keepalive import KeepAlive, KeepAliveAction

NOTHING, PING, GIVE_UP = KeepAliveAction.NOTHING, KeepAliveAction.PING, KeepAliveAction.GIVE_UP


def action(
    keepalive: KeepAlive, now_s: float, *, read_s: float = 0, written_s: float = 0, has_unsent: bool = False
) -> KeepAliveAction:
    return keepalive.next_action(now_s, read_s=read_s, written_s=written_s, has_unsent=has_unsent)


def test_a_ping_is_due_after_three_quarters_of_the_keep_alive_without_sending() -> None:
    keepalive = KeepAlive(20)
    assert action(keepalive, 14.9, read_s=14) is NOTHING
    assert action(keepalive, 15, read_s=14) is PING


def test_a_ping_is_due_when_nothing_is_received_even_while_something_is_sent() -> None:
    assert action(KeepAlive(20), 15, written_s=14) is PING


def test_there_is_one_ping_under_way_at_a_time() -> None:
    keepalive = KeepAlive(20)
    assert action(keepalive, 15) is PING
    assert action(keepalive, 34) is NOTHING


def test_a_broker_that_answers_is_pinged_again() -> None:
    keepalive = KeepAlive(20)
    assert action(keepalive, 15) is PING
    keepalive.answered()
    assert action(keepalive, 29.9, read_s=15, written_s=15) is NOTHING
    assert action(keepalive, 30, read_s=15, written_s=15) is PING


def test_a_broker_that_sends_nothing_for_a_keep_alive_after_a_ping_is_given_up() -> None:
    keepalive = KeepAlive(20)
    assert action(keepalive, 15) is PING
    assert action(keepalive, 35, written_s=30) is NOTHING
    assert action(keepalive, 35.1, written_s=30) is GIVE_UP


def test_a_large_message_under_way_from_the_broker_shows_that_it_lives() -> None:
    keepalive = KeepAlive(20)
    assert action(keepalive, 15) is PING
    assert action(keepalive, 50, read_s=49) is NOTHING


def test_progress_of_a_large_message_to_the_broker_shows_that_it_lives() -> None:
    keepalive = KeepAlive(20)
    assert action(keepalive, 15) is PING
    assert action(keepalive, 50, written_s=49, has_unsent=True) is NOTHING
    assert action(keepalive, 70, written_s=49, has_unsent=True) is GIVE_UP
