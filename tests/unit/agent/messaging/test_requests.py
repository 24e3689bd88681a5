"""Each request gets one reply, and is acknowledged when the broker has that reply."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping

import pytest

from drupelet_agent.messaging.dispatcher import Dispatcher
from drupelet_agent.messaging.reply_publisher import ReplyPublisher
from drupelet_agent.messaging.requests import RequestHandler
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.serving.byte_budget import ByteBudget
from drupelet_agent.serving.job import EXPIRED, Job, Outcome, refusal
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.contract.wire import HEADER_LENGTH_PROPERTY
from drupelet_shared.errors import ModelUnavailableError, OverloadedError, UnknownModelError
from fakes.broker_session import FakeSession
from fakes.clock import FakeClock

TOPICS = DeviceTopics("pi")
INFER = TOPICS.infer("m")
RESULT = TOPICS.result("m")
REPLY = "clients/me"


class Jobs:
    """A server that takes jobs and finishes them when the test says so."""

    def __init__(self, at_once: Callable[[Job], Outcome] | None = None) -> None:
        self.jobs: list[Job] = []
        self._at_once = at_once

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        if self._at_once is not None:
            job.finish(self._at_once(job))


class Device:
    """A request handler on a session that is connected."""

    def __init__(self, server: Jobs, *, budget_bytes: int = 1000) -> None:
        self.session = FakeSession(on_connected=self._on_connected, on_message=self._on_message)
        self.budget = ByteBudget(budget_bytes)
        self.reasons: list[str] = []
        self.server = server
        self.clock = FakeClock()
        self.requests = RequestHandler(
            TOPICS,
            self._find,
            filters=TOPICS.infer_filters,
            replies=ReplyPublisher(self.session.publish, on_undeliverable=self.reasons.append),
            budget=self.budget,
            corked=self.session.corked,
            unacknowledged=lambda: self.dispatcher.unacknowledged,
            clock=self.clock,
        )
        self.dispatcher = Dispatcher(self.session)
        self.dispatcher.register_deferring(self.requests)
        self.session.connect()

    def _on_connected(self, *, session_present: bool) -> None:
        self.dispatcher.connected(session_present=session_present)

    def _on_message(self, message: Message) -> None:
        self.dispatcher.dispatch(message)

    def _find(self, model: str, version: str | None) -> Jobs:
        if (model, version) != ("m", None):
            raise UnknownModelError(f"no model {model} here")
        return self.server

    def ask(self, payload: bytes = b"{}", *, topic: str = INFER, **fields: object) -> int:
        return self.session.deliver(topic, payload, **{"response_topic": REPLY, **fields})


def answer(payload: bytes = b"[1]") -> Outcome:
    return Outcome(code="ok", payload=payload)


def refusals(publications: list[Publication]) -> list[str]:
    return [json.loads(publication.payload)["code"] for publication in publications]


def test_a_request_is_acknowledged_when_the_broker_has_acknowledged_its_reply() -> None:
    device = Device(Jobs(lambda _: answer()))
    device.session.holds_acknowledgements = True
    packet_id = device.ask()
    assert [one.payload for one in device.session.on_topic(REPLY)] == [b"[1]"]
    assert (device.session.acknowledged, device.requests.in_progress) == ([], 1)
    device.session.acknowledge_publications()
    assert (device.session.acknowledged, device.requests.in_progress) == ([packet_id], 0)


def test_64_requests_whose_replies_the_broker_does_not_acknowledge_are_acknowledged_after_five_seconds() -> None:
    device = Device(Jobs(lambda _: answer()))
    device.session.holds_acknowledgements = True
    packet_ids = [device.ask() for _ in range(64)]
    device.clock.advance(4.9)
    assert device.session.acknowledged == []
    device.clock.advance(0.2)
    # The window is open again, and the broker can send the rest of its PUBACKs.
    assert device.session.acknowledged == packet_ids[:1]
    # The reply still counts as in progress, and its bytes as taken.
    assert (device.requests.in_progress, device.budget.held_bytes) == (64, 64 * len(b"[1]"))
    device.session.acknowledge_publications()
    assert (device.session.acknowledged, device.requests.in_progress) == (packet_ids, 0)
    assert device.budget.held_bytes == 0


def test_fewer_requests_wait_for_as_long_as_their_replies_are_not_acknowledged() -> None:
    device = Device(Jobs(lambda _: answer()))
    device.session.holds_acknowledgements = True
    packet_ids = [device.ask() for _ in range(63)]
    device.clock.advance(60)
    assert device.session.acknowledged == []
    device.session.acknowledge_publications()
    assert device.session.acknowledged == packet_ids


def test_an_agent_that_stops_acknowledges_no_request_before_its_reply() -> None:
    device = Device(Jobs(lambda _: answer()))
    device.session.holds_acknowledgements = True
    for _ in range(64):
        device.ask()
    device.requests.stop()
    device.clock.advance(60)
    assert device.session.acknowledged == []


def test_with_a_receive_maximum_of_1_and_a_puback_held_one_of_ten_requests_is_acknowledged_at_a_time() -> None:
    device = Device(Jobs(lambda _: answer()))
    device.session.receive_maximum = 1
    device.session.holds_acknowledgements = True
    packet_ids = [device.ask() for _ in range(10)]
    assert (len(device.session.published), device.session.acknowledged) == (1, [])
    for count in range(1, 11):
        device.session.acknowledge_publications(1)
        assert device.session.acknowledged == packet_ids[:count]


def test_a_request_of_qos_0_is_answered_with_qos_0() -> None:
    device = Device(Jobs(lambda _: answer()))
    device.ask(qos=0)
    (reply,) = device.session.on_topic(REPLY)
    assert reply.qos == 0
    assert (device.session.acknowledged, device.requests.in_progress) == ([], 0)


def test_an_expired_request_is_acknowledged_without_a_reply() -> None:
    device = Device(Jobs(lambda _: EXPIRED))
    packet_id = device.ask(expiry_s=1)
    assert (device.session.published, device.session.acknowledged) == ([], [packet_id])
    assert (device.requests.in_progress, device.budget.held_bytes) == (0, 0)


def test_a_reply_and_its_properties_leave_in_one_segment() -> None:
    device = Device(Jobs(lambda _: answer()))
    device.ask()
    assert device.session.segments == [1]


@pytest.mark.parametrize(
    ("fields", "code", "topic"),
    [
        ({"response_topic": "a/+"}, "invalid_request", RESULT),
        ({"response_topic": "a/" * 250 + "b"}, "invalid_request", RESULT),
        ({"response_topic": TOPICS.command("list")}, "invalid_request", RESULT),
        ({"user_properties": (("Inference-Header-Content-Length", "-1"),)}, "invalid_request", REPLY),
        ({"has_all_properties": False}, "invalid_request", RESULT),
        ({"topic": TOPICS.infer("other")}, "unknown_model", REPLY),
        ({"topic": TOPICS.infer("m", "9")}, "unknown_model", REPLY),
    ],
)
def test_a_refused_request_is_answered_with_its_id_and_acknowledged(
    fields: Mapping[str, object], code: str, topic: str
) -> None:
    device = Device(Jobs())
    packet_id = device.ask(b'{"id": "7", "inputs": []}', **fields)
    (reply,) = device.session.on_topic(topic)
    assert json.loads(reply.payload).items() >= {"code": code, "id": "7"}.items()
    assert device.server.jobs == []
    assert device.session.acknowledged == [packet_id]
    assert (device.requests.in_progress, device.budget.held_bytes) == (0, 0)


class TestMemory:
    def test_requests_beyond_the_budget_are_refused_and_those_within_it_are_served(self) -> None:
        device = Device(Jobs(), budget_bytes=1000)
        for _ in range(3):
            device.ask(bytes(400))
        device.clock.advance(0.2)
        assert len(device.server.jobs) == 2
        assert refusals(device.session.on_topic(REPLY)) == ["overloaded"]
        for job in device.server.jobs:
            job.finish(answer())
        assert device.budget.held_bytes == 0

    def test_a_request_is_counted_until_its_reply_is_there_and_the_reply_until_the_broker_has_it(self) -> None:
        device = Device(Jobs(), budget_bytes=1000)
        device.session.holds_acknowledgements = True
        device.ask(bytes(400), correlation=bytes(16))
        assert device.budget.held_bytes == 400 + 16 + len(REPLY)
        device.server.jobs[0].finish(answer(bytes(70)))
        assert device.budget.held_bytes == 70
        device.session.acknowledge_publications()
        assert device.budget.held_bytes == 0

    def test_a_reply_for_which_there_is_no_room_becomes_overloaded(self) -> None:
        device = Device(Jobs(), budget_bytes=1000)
        device.session.holds_acknowledgements = True
        device.ask(b'{"id": "a"}')
        device.ask(b'{"id": "b"}')
        device.server.jobs[0].finish(answer(bytes(900)))
        device.server.jobs[1].finish(answer(bytes(900)))
        device.clock.advance(0.2)
        first, second = device.session.on_topic(REPLY)
        assert len(first.payload) == 900
        assert json.loads(second.payload).items() >= {"code": "overloaded", "id": "b"}.items()
        device.session.acknowledge_publications()
        assert device.budget.held_bytes == 0

    def test_correlation_data_and_response_topic_count_as_well(self) -> None:
        device = Device(Jobs(), budget_bytes=1000)
        for _ in range(3):
            device.ask(b"{}", correlation=bytes(400), qos=0)
        device.clock.advance(0.2)
        assert len(device.server.jobs) == 2
        assert refusals(device.session.on_topic(REPLY)) == ["overloaded"]

    def test_one_request_larger_than_the_budget_is_served_while_nothing_else_waits(self) -> None:
        device = Device(Jobs(), budget_bytes=10)
        device.ask(bytes(400))
        device.ask(bytes(1))
        device.clock.advance(0.2)
        assert len(device.server.jobs) == 1
        assert refusals(device.session.on_topic(REPLY)) == ["overloaded"]


class TestOverload:
    @staticmethod
    def refuse(_: Job) -> Outcome:
        return refusal(OverloadedError("64 requests wait already"))

    def test_a_refusal_waits_and_a_reply_to_another_request_does_not(self) -> None:
        device = Device(Jobs(lambda job: answer() if job.payload == b"calm" else self.refuse(job)))
        refused, answered = device.ask(), device.ask(b"calm")
        assert [one.payload for one in device.session.on_topic(REPLY)] == [b"[1]"]
        device.clock.advance(0.19)
        assert len(device.session.published) == 1
        device.clock.advance(0.02)
        assert refusals(device.session.on_topic(REPLY)[1:]) == ["overloaded"]
        # Acknowledgements keep their order.
        assert device.session.acknowledged == [refused, answered]

    def test_refusals_leave_together_in_batches_between_which_others_have_their_turn(self) -> None:
        device = Device(Jobs(self.refuse), budget_bytes=10**6)
        for _ in range(150):
            device.ask(qos=0)
        assert device.session.published == []
        device.clock.advance(0.2)
        assert device.session.segments == [64]
        device.clock.advance(0.02)
        assert device.session.segments == [64, 64, 22]

    def test_more_refusals_than_wait_at_most_are_sent_at_once(self) -> None:
        device = Device(Jobs(self.refuse), budget_bytes=10**6)
        for _ in range(1030):
            device.ask(qos=0)
        assert len(device.session.published) == 6

    def test_a_refusal_for_whose_properties_there_is_no_room_is_sent_at_once(self) -> None:
        device = Device(Jobs(self.refuse), budget_bytes=1000)
        for _ in range(2):
            device.ask(qos=0, correlation=bytes(480))
        assert len(device.session.published) == 1
        assert device.budget.held_bytes > 480
        device.clock.advance(0.2)
        assert (len(device.session.published), device.budget.held_bytes) == (2, 0)


class TestRefusedReplies:
    def test_a_reply_too_large_for_the_broker_is_replaced_by_a_small_one(self) -> None:
        device = Device(Jobs(lambda _: answer(bytes(1000))))
        device.session.maximum_packet_bytes = 300
        packet_id = device.ask(b'{"id": "7"}')
        (reply,) = device.session.on_topic(REPLY)
        assert json.loads(reply.payload).items() >= {"code": "payload_too_large", "id": "7"}.items()
        assert device.session.acknowledged == [packet_id]
        assert len(device.reasons) == 1

    @pytest.mark.parametrize("kind", ["rejected_topics", "dropped_topics"])
    def test_a_reply_that_the_broker_does_not_take_is_replaced_by_a_refusal_on_the_default_topic(
        self, kind: str
    ) -> None:
        device = Device(Jobs(lambda _: answer()))
        setattr(device.session, kind, [REPLY])
        packet_id = device.ask()
        (reply,) = device.session.on_topic(RESULT)
        assert json.loads(reply.payload)["code"] == "invalid_request"
        assert device.session.acknowledged == [packet_id]

    def test_a_reply_for_which_the_session_has_no_room_becomes_overloaded(self) -> None:
        device = Device(Jobs(lambda _: answer(bytes(300))))
        device.session.max_publication_bytes = 200
        packet_id = device.ask(b'{"id": "7"}')
        (reply,) = device.session.on_topic(REPLY)
        assert json.loads(reply.payload).items() >= {"code": "overloaded", "id": "7"}.items()
        assert device.session.acknowledged == [packet_id]

    def test_a_reply_of_qos_0_without_a_connection_is_not_replaced(self) -> None:
        device = Device(Jobs())
        device.ask(qos=0)
        device.session.lose_connection()
        device.server.jobs[0].finish(answer())
        assert (device.session.published, device.reasons, device.requests.in_progress) == ([], [], 0)

    def test_a_request_is_acknowledged_even_where_the_broker_takes_no_refusal_either(self) -> None:
        device = Device(Jobs(lambda _: answer()))
        device.session.rejected_topics = [REPLY, RESULT]
        packet_ids = [device.ask(), device.ask(response_topic=None)]
        assert device.session.acknowledged == packet_ids
        assert (device.requests.in_progress, device.budget.held_bytes) == (0, 0)


class TestStop:
    def test_a_request_that_no_model_serves_any_more_stays_with_the_broker(self) -> None:
        device = Device(Jobs())
        device.ask()
        device.ask(qos=0)
        device.requests.stop()
        for job in device.server.jobs:
            job.finish(refusal(ModelUnavailableError("the model was stopped")))
        # The broker keeps no request of QoS 0, so that one is answered.
        (reply,) = device.session.published
        assert reply.qos == 0
        assert device.session.acknowledged == []

    def test_draining_waits_for_acknowledgements_for_as_long_as_it_is_told(self) -> None:
        device = Device(Jobs(lambda _: answer()))
        device.session.holds_acknowledgements = True

        async def drain() -> None:
            device.ask()
            await device.requests.drain(timeout_s=0.02)
            assert device.requests.in_progress == 1
            asyncio.get_running_loop().call_later(0.02, device.session.acknowledge_publications)
            await device.requests.drain(timeout_s=10)
            assert device.requests.in_progress == 0

        asyncio.run(drain())


@pytest.mark.parametrize("length", ["0", "12", "9999999999"])
def test_the_length_of_a_binary_requests_header_is_read_among_other_user_properties(length: str) -> None:
    device = Device(Jobs())
    device.ask(user_properties=[("trace", "abc"), (HEADER_LENGTH_PROPERTY, length), ("other", "1")])
    assert [job.header_length for job in device.server.jobs] == [int(length)]


@pytest.mark.parametrize("length", ["", "-1", "1.5", "٣", "12345678901"])
def test_a_header_length_that_is_no_number_of_bytes_is_refused(length: str) -> None:
    device = Device(Jobs())
    device.ask(user_properties=[(HEADER_LENGTH_PROPERTY, length)])
    assert device.server.jobs == []
    (reply,) = device.session.on_topic(REPLY)
    assert json.loads(reply.payload)["code"] == "invalid_request"
