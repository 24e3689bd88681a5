"""Publications that wait for the broker."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.messaging.outbox import Outbox
from drupelet_agent.mqtt.message import Publication


def message(number: int) -> Publication:
    return Publication(topic=str(number), payload=b"")


@given(st.integers(min_value=0, max_value=30), st.integers(min_value=1, max_value=10))
def test_the_newest_stay_in_order_and_the_rest_is_counted(count: int, length: int) -> None:
    outbox = Outbox(telemetry_length=length, events_length=1)
    for number in range(count):
        outbox.add_telemetry(message(number))
    assert [int(waiting.topic) for waiting in outbox.drain()] == list(range(max(0, count - length), count))
    assert outbox.dropped == max(0, count - length)


def test_a_flood_of_telemetry_pushes_out_no_event_and_events_go_first() -> None:
    outbox = Outbox(telemetry_length=2, events_length=2)
    outbox.add_event(message(100))
    for number in range(50):
        outbox.add_telemetry(message(number))
    outbox.add_event(message(101))
    assert [waiting.topic for waiting in outbox.drain()] == ["100", "101", "48", "49"]
    assert list(outbox.drain()) == []


def test_events_that_are_dropped_are_counted_too() -> None:
    outbox = Outbox(telemetry_length=2, events_length=2)
    for number in range(5):
        outbox.add_event(message(number))
    assert outbox.dropped == 3
