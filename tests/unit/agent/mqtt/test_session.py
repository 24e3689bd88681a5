"""A session over a real stream: what it writes, what it takes, and what survives the connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from drupelet_agent.mqtt.codec import packets
from drupelet_agent.mqtt.errors import ProtocolError
from drupelet_agent.mqtt.limits import BrokerLimits
from drupelet_agent.mqtt.link.dialling import OpenSocket
from drupelet_agent.mqtt.link.stream import Stream
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.outcome import PublishOutcome
from drupelet_agent.mqtt.session import Session
from drupelet_agent.mqtt.status import ConnectionProblem
from fakes.scripted_broker import PUBACK, PUBLISH, SUBSCRIBE, Packet

PUBACK_BYTE, SUBACK_BYTE = packets.PUBACK << 4, packets.SUBACK << 4


def split(data: bytes) -> list[Packet]:
    """Split what a client sent into packets, each with a length of one or two bytes."""
    received = []
    while data:
        length, start = (data[1], 2) if data[1] < 0x80 else ((data[1] & 0x7F) + (data[2] << 7), 3)
        received.append(Packet(data[0] >> 4, data[0] & 15, data[start : start + length]))
        data = data[start + length :]
    return received


class Bench:
    """A session, the far ends of its connections, and everything that it reported."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.reports: list[tuple[ConnectionProblem, str]] = []
        self.outcomes: dict[str, tuple[PublishOutcome, str]] = {}
        self.session = Session(
            max_pending_bytes=1000,
            on_message=self.messages.append,
            report=lambda problem, text: self.reports.append((problem, text)),
        )
        self._streams: list[Stream] = []
        self._far: list[socket.socket] = []

    def open(self, *, session_present: bool = False, **limits: object) -> None:
        """Connect to a broker with these limits."""
        near, far = socket.socketpair()
        for end in (near, far):
            end.settimeout(0)
        self._far.append(far)
        stream = Stream(
            OpenSocket(near),
            max_packet_bytes=10_000,
            max_unsent_bytes=2**20,
            on_packet=lambda *_: None,
            on_end=lambda _: None,
        )
        self._streams.append(stream)
        self.session.open(stream, BrokerLimits(**limits), session_present=session_present)  # type: ignore[arg-type]

    def publish(self, topic: str, payload: bytes = b"x", **fields: object) -> None:
        publication = Publication(topic, payload, **fields)  # type: ignore[arg-type]
        self.session.publish(publication, lambda outcome, reason: self.outcomes.update({topic: (outcome, reason)}))

    def received(self) -> list[Packet]:
        """What the broker has received on this connection since the last call."""
        self._streams[-1].flush()
        try:
            return split(self._far[-1].recv(2**20))
        except BlockingIOError:
            return []

    def topics(self) -> list[str]:
        return [packet.topic for packet in self.received() if packet.kind == PUBLISH]

    def acknowledge(self, packet_id: int, *, reason: int | None = None) -> None:
        body = packet_id.to_bytes(2, "big") + (b"" if reason is None else bytes((reason,)))
        self.session.handle(PUBACK_BYTE, memoryview(body))

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        for far in self._far:
            far.close()


Scenario = Callable[[Bench], Awaitable[None]]


def run(scenario: Scenario) -> None:
    async def main() -> None:
        bench = Bench()
        try:
            await scenario(bench)
        finally:
            bench.close()

    asyncio.run(main())


class TestPublishing:
    def test_a_publication_of_qos_1_without_a_connection_waits_for_the_next(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.publish("a")
            assert (bench.outcomes, bench.session.pending_count) == ({}, 1)
            bench.open()
            assert bench.topics() == ["a"]
            bench.acknowledge(1)
            assert bench.outcomes == {"a": (PublishOutcome.ACKNOWLEDGED, "")}
            assert bench.session.pending_count == 0

        run(scenario)

    def test_what_is_not_acknowledged_is_sent_again_on_the_next_connection(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open()
            bench.publish("a")
            bench.publish("b")
            bench.acknowledge(1)
            bench.session.close(may_blame_publication=False)
            bench.open(session_present=True)
            (again,) = bench.received()
            assert (again.topic, again.dup, again.packet_id) == ("b", True, 2)

        run(scenario)

    def test_beyond_the_limit_qos_0_is_dropped_and_beyond_twice_the_limit_everything(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.publish("first", bytes(1000))
            bench.publish("zero", qos=0)
            assert bench.outcomes["zero"][0] is PublishOutcome.DROPPED
            assert "bytes are unsent or unacknowledged" in bench.outcomes["zero"][1]
            bench.publish("second", bytes(1000))
            bench.publish("third")
            assert bench.outcomes["third"][0] is PublishOutcome.DROPPED
            assert bench.session.pending_count == 2

        run(scenario)

    def test_a_publication_that_cannot_be_encoded_is_too_large(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.publish("t" * 70_000)
            ((outcome, reason),) = bench.outcomes.values()
            assert outcome is PublishOutcome.TOO_LARGE
            assert "70000 bytes" in reason

        run(scenario)

    @pytest.mark.parametrize(("reason", "outcome"), [(0x95, PublishOutcome.TOO_LARGE), (0x87, PublishOutcome.REJECTED)])
    def test_a_puback_with_a_failure_is_an_outcome_of_its_own(self, reason: int, outcome: PublishOutcome) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open()
            bench.publish("a")
            bench.acknowledge(1, reason=reason)
            assert bench.outcomes["a"][0] is outcome

        run(scenario)

    def test_a_puback_that_reports_no_subscribers_is_a_success(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open()
            bench.publish("a")
            bench.acknowledge(1, reason=0x10)
            assert bench.outcomes["a"] == (PublishOutcome.ACKNOWLEDGED, "")

        run(scenario)

    def test_the_end_of_the_session_drops_what_is_left(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.publish("a")
            bench.session.end("the agent stops")
            assert bench.outcomes == {"a": (PublishOutcome.DROPPED, "the agent stops")}

        run(scenario)

    def test_an_outcome_that_is_not_handled_leaves_those_of_others(self, caplog: pytest.LogCaptureFixture) -> None:
        async def scenario(bench: Bench) -> None:
            def fail(_outcome: PublishOutcome, _reason: str) -> None:
                raise RuntimeError("broken")

            bench.session.publish(Publication("a", b""), fail)
            bench.publish("b")
            bench.session.end("over")
            assert "b" in bench.outcomes
            assert "the outcome of a publication was not handled" in caplog.text

        run(scenario)


class TestLimitsOfTheBroker:
    def test_a_packet_of_exactly_the_limit_is_sent_and_one_byte_more_is_not(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open(maximum_packet_bytes=100)
            # Fixed header 2, topic 3, packet identifier 2, properties 1.
            bench.publish("a", bytes(92))
            bench.publish("b", bytes(93))
            assert bench.topics() == ["a"]
            assert bench.outcomes == {
                "b": (PublishOutcome.TOO_LARGE, "a packet of 101 bytes: the broker accepts at most 100")
            }

        run(scenario)

    def test_a_broker_of_qos_0_gets_qos_0_and_a_person_is_told(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open(maximum_qos=0)
            bench.publish("a")
            (packet,) = bench.received()
            assert packet.qos == 0
            assert bench.outcomes == {"a": (PublishOutcome.ACKNOWLEDGED, "")}
            assert [problem for problem, _ in bench.reports] == [ConnectionProblem.UNSUPPORTED]

        run(scenario)

    def test_a_broker_without_retained_messages_gets_none_and_a_person_is_told(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open(retain_available=False)
            bench.publish("a", retain=True)
            bench.publish("b", retain=True, qos=0)
            assert [packet.retain for packet in bench.received()] == [False, False]
            assert [problem for problem, _ in bench.reports] == [ConnectionProblem.UNSUPPORTED]

        run(scenario)

    def test_a_broker_with_retained_messages_keeps_them(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open()
            bench.publish("a", retain=True)
            (packet,) = bench.received()
            assert packet.retain
            assert bench.reports == []

        run(scenario)

    def test_publications_beyond_the_receive_maximum_wait(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open(receive_maximum=1)
            bench.publish("a")
            bench.publish("b")
            assert bench.topics() == ["a"]
            bench.acknowledge(1)
            assert bench.topics() == ["b"]

        run(scenario)


class TestSubscribing:
    def test_a_subscription_names_all_its_filters(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open()
            bench.session.subscribe(("a/+", "b"), retained=False)
            (packet,) = bench.received()
            assert packet.kind == SUBSCRIBE
            # QoS 1, and no retained messages at the start.
            assert packet.filters == [("a/+", 0x21), ("b", 0x21)]

        run(scenario)

    def test_a_subscription_too_large_for_the_broker_is_split(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open(maximum_packet_bytes=20)
            bench.session.subscribe(("aaaaaaa", "bbbbbbb", "ccccccc"), retained=True)
            filters = [packet.filters for packet in bench.received()]
            assert filters == [[("aaaaaaa", 1)], [("bbbbbbb", 1)], [("ccccccc", 1)]]
            bench.session.subscribe(("d" * 20, "e"), retained=True)
            assert [packet.filters for packet in bench.received()] == [[("e", 1)]]
            assert bench.reports[-1][0] is ConnectionProblem.SUBSCRIPTION_REFUSED
            assert "the broker accepts at most 20" in bench.reports[-1][1]

        run(scenario)

    def test_filters_that_the_broker_does_not_support_are_left_out_and_reported(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open(shared_available=False, wildcard_available=False)
            bench.session.subscribe(("$share/p/a", "b/+", "c/#", "d"), retained=False)
            (packet,) = bench.received()
            assert packet.filters == [("d", 0x21)]
            assert len(bench.reports) == 3
            assert "$share/p/a: Shared Subscriptions not supported" in bench.reports[0][1]
            assert "c/#: Wildcard Subscriptions not supported" in bench.reports[2][1]
            bench.session.subscribe(("$share/p/a",), retained=False)
            assert bench.received() == []

        run(scenario)

    def test_a_filter_that_the_broker_refuses_is_reported_by_its_name(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open()
            bench.session.subscribe(("a", "b"), retained=False)
            bench.session.handle(SUBACK_BYTE, memoryview(b"\x00\x01\x00\x01\x87"))
            assert bench.reports == [
                (
                    ConnectionProblem.SUBSCRIPTION_REFUSED,
                    "connected, but the broker refuses the subscription to b: Not authorized",
                )
            ]

        run(scenario)

    @pytest.mark.parametrize("body", [b"\x00\x02\x00\x01", b"\x00\x01\x00\x01\x01", b"\x00\x01\x00"])
    def test_a_suback_that_fits_to_no_subscribe_breaks_the_protocol(self, body: bytes) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open()
            bench.session.subscribe(("a",), retained=False)
            with pytest.raises(ProtocolError, match="SUBACK"):
                bench.session.handle(SUBACK_BYTE, memoryview(body))

        run(scenario)

    def test_identifiers_of_a_lost_connection_are_free_again(self) -> None:
        async def scenario(bench: Bench) -> None:
            for _ in range(2):
                bench.open()
                for number in range(33_000):
                    bench.session.subscribe((f"{number}",), retained=False)
                bench.session.close(may_blame_publication=False)

        run(scenario)

    def test_nothing_is_subscribed_or_acknowledged_without_a_connection(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.session.subscribe(("a",), retained=False)
            bench.session.acknowledge(7)
            bench.open()
            assert bench.received() == []

        run(scenario)


class TestReceiving:
    def test_a_message_is_passed_on_and_acknowledged_when_asked_for(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open()
            bench.session.handle(0x32, memoryview(b"\x00\x01a\x00\x07\x00payload"))
            assert [(one.topic, one.payload, one.mid) for one in bench.messages] == [("a", b"payload", 7)]
            assert bench.received() == []
            bench.session.acknowledge(7)
            (packet,) = bench.received()
            assert (packet.kind, packet.packet_id) == (PUBACK, 7)

        run(scenario)

    @pytest.mark.parametrize("kind", [1, 5, 6, 7, 8, 10, 11, 12])
    def test_a_packet_that_no_client_receives_breaks_the_protocol(self, kind: int) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open()
            with pytest.raises(ProtocolError, match=f"type {kind},"):
                bench.session.handle(kind << 4, memoryview(b""))

        run(scenario)

    def test_an_acknowledgement_of_nothing_is_ignored(self) -> None:
        async def scenario(bench: Bench) -> None:
            bench.open()
            bench.acknowledge(9)
            assert bench.outcomes == {}

        run(scenario)


def test_a_publication_that_ends_three_connections_is_dropped_and_reported() -> None:
    async def scenario(bench: Bench) -> None:
        bench.publish("poison")
        for _ in range(3):
            assert bench.outcomes == {}
            bench.open(session_present=True)
            assert bench.topics() == ["poison"]
            bench.session.close(may_blame_publication=True)
        assert bench.outcomes["poison"][0] is PublishOutcome.DROPPED
        ((problem, text),) = bench.reports
        assert problem is ConnectionProblem.PUBLICATION_DROPPED
        assert "'poison': the broker ended the connection 3 times in a row" in text

    run(scenario)


def test_a_publication_is_not_blamed_for_other_ends() -> None:
    async def scenario(bench: Bench) -> None:
        bench.publish("a")
        for _ in range(5):
            bench.open(session_present=True)
            assert bench.topics() == ["a"]
            bench.session.close(may_blame_publication=False)
        assert bench.outcomes == {}

    run(scenario)


def test_pending_bytes_are_those_unsent_and_unacknowledged_each_once() -> None:
    async def scenario(bench: Bench) -> None:
        bench.publish("a", bytes(100))
        size = bench.session.pending_bytes
        assert size == 2 + 3 + 2 + 1 + 100
        bench.open()
        assert bench.session.pending_bytes == size
        bench.received()
        assert bench.session.pending_bytes == size
        bench.acknowledge(1)
        assert bench.session.pending_bytes == 0

    run(scenario)
