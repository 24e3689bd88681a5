"""A session: what it publishes and receives, and what survives the connection."""

from __future__ import annotations

import pytest

from drupelet_agent.mqtt.errors import ProtocolError
from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.outcome import PublishOutcome
from drupelet_agent.mqtt.session import Session
from drupelet_agent.mqtt.status import ConnectionProblem
from fakes.scripted_broker import PUBACK
from support.broker.sessions import SessionBench, run_session


class TestPublishing:
    def test_a_publication_of_qos_1_without_a_connection_waits_for_the_next(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.publish("a")
            assert (bench.outcomes, bench.session.pending_count) == ({}, 1)
            bench.open()
            assert bench.topics() == ["a"]
            bench.acknowledge(1)
            assert bench.outcomes == {"a": (PublishOutcome.ACKNOWLEDGED, "")}
            assert bench.session.pending_count == 0

        run_session(scenario)

    def test_what_is_not_acknowledged_is_sent_again_on_the_next_connection(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open()
            bench.publish("a")
            bench.publish("b")
            bench.acknowledge(1)
            bench.session.close(may_blame_publication=False)
            bench.open(session_present=True)
            (again,) = bench.received()
            assert (again.topic, again.dup, again.packet_id) == ("b", True, 2)

        run_session(scenario)

    def test_beyond_the_limit_qos_0_is_dropped_and_beyond_twice_the_limit_everything(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.publish("first", bytes(1000))
            bench.publish("zero", qos=0)
            assert bench.outcomes["zero"][0] is PublishOutcome.NO_ROOM
            assert "bytes are unsent or unacknowledged" in bench.outcomes["zero"][1]
            bench.publish("second", bytes(1000))
            bench.publish("third")
            assert bench.outcomes["third"][0] is PublishOutcome.NO_ROOM
            assert bench.session.pending_count == 2

        run_session(scenario)

    def test_a_publication_that_cannot_be_encoded_is_too_large(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.publish("t" * 70_000)
            ((outcome, reason),) = bench.outcomes.values()
            assert outcome is PublishOutcome.TOO_LARGE
            assert "70000 bytes" in reason

        run_session(scenario)

    @pytest.mark.parametrize(("reason", "outcome"), [(0x95, PublishOutcome.TOO_LARGE), (0x87, PublishOutcome.REJECTED)])
    def test_a_puback_with_a_failure_is_an_outcome_of_its_own(self, reason: int, outcome: PublishOutcome) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open()
            bench.publish("a")
            bench.acknowledge(1, reason=reason)
            assert bench.outcomes["a"][0] is outcome

        run_session(scenario)

    def test_a_puback_that_reports_no_subscribers_is_a_success(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open()
            bench.publish("a")
            bench.acknowledge(1, reason=0x10)
            assert bench.outcomes["a"] == (PublishOutcome.ACKNOWLEDGED, "")

        run_session(scenario)

    def test_the_end_of_the_session_drops_what_is_left(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.publish("a")
            bench.session.end("the agent stops")
            assert bench.outcomes == {"a": (PublishOutcome.UNSENT, "the agent stops")}

        run_session(scenario)

    def test_an_outcome_that_is_not_handled_leaves_those_of_others(self, caplog: pytest.LogCaptureFixture) -> None:
        async def scenario(bench: SessionBench) -> None:
            def fail(_outcome: PublishOutcome, _reason: str) -> None:
                raise RuntimeError("broken")

            bench.session.publish(Publication("a", b""), fail)
            bench.publish("b")
            bench.session.end("over")
            assert "b" in bench.outcomes
            assert "the outcome of a publication was not handled" in caplog.text

        run_session(scenario)


class TestLimitsOfTheBroker:
    def test_a_packet_of_exactly_the_limit_is_sent_and_one_byte_more_is_not(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open(maximum_packet_bytes=100)
            # Fixed header 2, topic 3, packet identifier 2, properties 1.
            bench.publish("a", bytes(92))
            bench.publish("b", bytes(93))
            assert bench.topics() == ["a"]
            assert bench.outcomes == {
                "b": (PublishOutcome.TOO_LARGE, "a packet of 101 bytes: the broker accepts at most 100")
            }

        run_session(scenario)

    def test_a_broker_of_qos_0_gets_qos_0_and_a_person_is_told(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open(maximum_qos=0)
            bench.publish("a")
            (packet,) = bench.received()
            assert packet.qos == 0
            assert bench.outcomes == {"a": (PublishOutcome.ACKNOWLEDGED, "")}
            assert [problem for problem, _ in bench.reports] == [ConnectionProblem.UNSUPPORTED]

        run_session(scenario)

    def test_a_broker_without_retained_messages_gets_none_and_a_person_is_told(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open(retain_available=False)
            bench.publish("a", retain=True)
            bench.publish("b", retain=True, qos=0)
            assert [packet.retain for packet in bench.received()] == [False, False]
            assert [problem for problem, _ in bench.reports] == [ConnectionProblem.UNSUPPORTED]

        run_session(scenario)

    def test_a_broker_with_retained_messages_keeps_them(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open()
            bench.publish("a", retain=True)
            (packet,) = bench.received()
            assert packet.retain
            assert bench.reports == []

        run_session(scenario)

    def test_publications_beyond_the_receive_maximum_wait(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open(receive_maximum=1)
            bench.publish("a")
            bench.publish("b")
            assert bench.topics() == ["a"]
            bench.acknowledge(1)
            assert bench.topics() == ["b"]

        run_session(scenario)


class TestReceiving:
    def test_a_message_is_passed_on_and_acknowledged_when_asked_for(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open()
            bench.session.handle(0x32, memoryview(b"\x00\x01a\x00\x07\x00payload"))
            assert [(one.topic, one.payload, one.mid) for one in bench.messages] == [("a", b"payload", 7)]
            assert bench.received() == []
            bench.session.acknowledge(7)
            (packet,) = bench.received()
            assert (packet.kind, packet.packet_id) == (PUBACK, 7)

        run_session(scenario)

    @pytest.mark.parametrize("kind", [1, 5, 6, 7, 8, 10, 11, 12])
    def test_a_packet_that_no_client_receives_breaks_the_protocol(self, kind: int) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open()
            with pytest.raises(ProtocolError, match=f"type {kind},"):
                bench.session.handle(kind << 4, memoryview(b""))

        run_session(scenario)

    def test_an_acknowledgement_of_nothing_is_ignored(self) -> None:
        async def scenario(bench: SessionBench) -> None:
            bench.open()
            bench.acknowledge(9)
            assert bench.outcomes == {}

        run_session(scenario)


def test_a_publication_that_ends_three_connections_is_dropped_and_reported() -> None:
    async def scenario(bench: SessionBench) -> None:
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

    run_session(scenario)


def test_a_publication_is_not_blamed_for_other_ends() -> None:
    async def scenario(bench: SessionBench) -> None:
        bench.publish("a")
        for _ in range(5):
            bench.open(session_present=True)
            assert bench.topics() == ["a"]
            bench.session.close(may_blame_publication=False)
        assert bench.outcomes == {}

    run_session(scenario)


def test_a_session_that_never_connected_has_nothing_pending() -> None:
    session = Session(max_pending_bytes=1, on_message=lambda _: None, report=lambda *_: None)
    assert (session.pending_bytes, session.pending_count) == (0, 0)
    session.close(may_blame_publication=True)
    session.end("over")


def test_pending_bytes_are_those_unsent_and_unacknowledged_each_once() -> None:
    async def scenario(bench: SessionBench) -> None:
        bench.publish("a", bytes(100))
        size = bench.session.pending_bytes
        assert size == 2 + 3 + 2 + 1 + 100
        bench.open()
        assert bench.session.pending_bytes == size
        bench.received()
        assert bench.session.pending_bytes == size
        bench.acknowledge(1)
        assert bench.session.pending_bytes == 0

    run_session(scenario)
