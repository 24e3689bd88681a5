from __future__ import annotations

import queue

from drupelet_host.fleet.feed import FleetFeed
from drupelet_host.fleet.summary import Overview
from drupelet_shared.contract.topics import Announcement
from fakes.mqtt import ADDRESS, FakeBroker
from support.agent.fleets import Announced, birth, model_state


def announce(broker: FakeBroker, *messages: Announced) -> None:
    for message in messages:
        broker.publish(message.topic, message.payload, retain=True)


def test_a_feed_follows_what_was_retained_and_what_is_announced_later() -> None:
    broker = FakeBroker()
    announce(broker, birth("pi-1"), model_state("pi-1"))
    changes: queue.SimpleQueue[Announcement] = queue.SimpleQueue()
    with FleetFeed(ADDRESS, on_change=changes.put, transport_factory=broker.connect) as feed:
        assert feed.is_connected
        assert [changes.get(timeout=5).kind for _ in range(2)] == ["status", "state"]
        announce(broker, birth("pi-1", state="offline"))
        assert changes.get(timeout=5) == Announcement("status", "pi-1")
        assert [row.connection for row in feed.read(Overview.of).rows] == ["offline"]
    assert not feed.is_connected


def test_a_message_that_changes_nothing_is_told_to_no_listener() -> None:
    broker = FakeBroker()
    changes: queue.SimpleQueue[Announcement] = queue.SimpleQueue()
    with FleetFeed(ADDRESS, on_change=changes.put, transport_factory=broker.connect) as feed:
        announce(broker, Announced("drupelet/v1/pi-1/status", b"?"), Announced("other/topic", b"{}"), birth("pi-1"))
        assert changes.get(timeout=5) == Announcement("status", "pi-1")
        assert changes.empty()
        assert feed.read(lambda fleet, _: fleet.malformed) == 1


def test_a_feed_stays_under_its_prefix() -> None:
    broker = FakeBroker()
    announce(broker, birth("pi-1"))
    with FleetFeed(ADDRESS, prefix="site/a", transport_factory=broker.connect) as feed:
        assert broker.transports[0].topics == {
            f"site/a/{topic}"
            for topic in (
                "+/status",
                "+/models/+/state",
                "+/telemetry/models/+",
                "+/telemetry/device",
                "+/event",
                "+/telemetry/history",
            )
        }
        assert feed.read(lambda fleet, _: len(fleet.devices)) == 0
