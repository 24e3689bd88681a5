"""Subscriptions of a session: what the broker supports, what it refuses, and what it does not answer."""

from __future__ import annotations

import asyncio

import pytest

from drupelet_agent.mqtt.codec import packets
from drupelet_agent.mqtt.connection import BrokerConnection
from drupelet_agent.mqtt.errors import ProtocolError
from drupelet_agent.mqtt.link.backoff import Backoff
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_agent.mqtt.status import ConnectionEvent, ConnectionProblem
from fakes.scripted_broker import PINGREQ, PINGRESP, SUBSCRIBE, Packet, Peer, ScriptedBroker, packet
from support.broker.mqtt_clients import eventually
from support.broker.scenarios import obliging
from support.broker.sessions import SessionBench, run_session

SUBACK_BYTE = packets.SUBACK << 4


class TestSubscribing:
    def test_a_subscription_names_all_its_filters(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open()
            bench.session.subscribe(("a/+", "b"), retained=False)
            (packet,) = bench.received()
            assert packet.kind == SUBSCRIBE
            # QoS 1, and no retained messages at the start.
            assert packet.filters == [("a/+", 0x21), ("b", 0x21)]

        run_session(scenario)

    def test_a_subscription_too_large_for_the_broker_is_split(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open(maximum_packet_bytes=20)
            bench.session.subscribe(("aaaaaaa", "bbbbbbb", "ccccccc"), retained=True)
            filters = [packet.filters for packet in bench.received()]
            assert filters == [[("aaaaaaa", 1)], [("bbbbbbb", 1)], [("ccccccc", 1)]]
            bench.session.subscribe(("d" * 20, "e"), retained=True)
            assert [packet.filters for packet in bench.received()] == [[("e", 1)]]
            assert bench.reports[-1][0] is ConnectionProblem.SUBSCRIPTION_REFUSED
            assert "the broker accepts at most 20" in bench.reports[-1][1]

        run_session(scenario)

    def test_filters_that_the_broker_does_not_support_are_left_out_and_reported(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open(shared_available=False, wildcard_available=False)
            bench.session.subscribe(("$share/p/a", "b/+", "c/#", "d"), retained=False)
            (packet,) = bench.received()
            assert packet.filters == [("d", 0x21)]
            assert len(bench.reports) == 3
            assert "$share/p/a: Shared Subscriptions not supported" in bench.reports[0][1]
            assert "c/#: Wildcard Subscriptions not supported" in bench.reports[2][1]
            bench.session.subscribe(("$share/p/a",), retained=False)
            assert bench.received() == []

        run_session(scenario)

    def test_a_filter_that_the_broker_refuses_is_reported_by_its_name(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open()
            bench.session.subscribe(("a", "b"), retained=False)
            bench.session.handle(SUBACK_BYTE, memoryview(b"\x00\x01\x00\x01\x87"))
            assert bench.reports == [
                (
                    ConnectionProblem.SUBSCRIPTION_REFUSED,
                    "connected, but the broker refuses the subscription to b: Not authorized",
                )
            ]

        run_session(scenario)

    @pytest.mark.parametrize("body", [b"\x00\x02\x00\x01", b"\x00\x01\x00\x01\x01", b"\x00\x01\x00"])
    def test_a_suback_that_fits_to_no_subscribe_breaks_the_protocol(self, body: bytes) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open()
            bench.session.subscribe(("a",), retained=False)
            with pytest.raises(ProtocolError, match="SUBACK"):
                bench.session.handle(SUBACK_BYTE, memoryview(body))

        run_session(scenario)

    def test_identifiers_of_a_lost_connection_are_free_again(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            for _ in range(2):
                bench.open()
                for number in range(33_000):
                    bench.session.subscribe((f"{number}",), retained=False)
                bench.session.close(may_blame_publication=False)

        run_session(scenario)

    def test_nothing_is_subscribed_or_acknowledged_without_a_connection(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.session.subscribe(("a",), retained=False)
            bench.session.acknowledge(7)
            bench.open()
            assert bench.received() == []

        run_session(scenario)


def test_a_broker_that_answers_pings_but_no_subscription_is_left_for_another_connection() -> None:
    async def deaf(peer: Peer) -> None:
        await peer.accept()
        while True:
            received = await peer.receive()
            if received.kind == PINGREQ:
                await peer.send(packet(PINGRESP << 4, b""))

    events: list[ConnectionEvent] = []

    async def main() -> None:
        async with ScriptedBroker(deaf, obliging) as broker:

            def subscribe(*, session_present: bool) -> None:
                assert not session_present
                connection.subscribe("a/+")

            connection = BrokerConnection(
                ConnectionOptions(host="127.0.0.1", port=broker.port, client_id="device", keepalive_s=1),
                on_connected=subscribe,
                on_message=print,
                on_event=events.append,
                backoff=Backoff(uniform=lambda _, __: 0.0),
                suback_timeout_s=0.3,
            )
            running = asyncio.create_task(connection.run())
            await eventually(lambda: len(broker.peers) == 2 and any(one.kind == SUBSCRIBE for one in second(broker)))
            # Longer than the first connection lasted: one whose subscription is answered stays.
            await eventually(lambda: sum(one.kind == PINGREQ for one in second(broker)) >= 2)
            assert len(broker.peers) == 2
            running.cancel()
            await connection.disconnect()

    def second(broker: ScriptedBroker) -> list[Packet]:
        return broker.peers[1].received

    asyncio.run(main())
    assert [event.problem for event in events] == [ConnectionProblem.NO_ANSWER]
    assert "has not answered a SUBSCRIBE within 0.3 s" in events[0].message
