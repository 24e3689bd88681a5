"""Replies that the broker does not accept are replaced by refusals that it does."""

from __future__ import annotations

import json

import pytest

from drupelet_agent.messaging.replies import ReplyAddress
from drupelet_agent.messaging.reply_publisher import ReplyPublisher
from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.outcome import OutcomeCallback, PublishOutcome

OWN = ReplyAddress(topic="clients/me", correlation=b"c", qos=1, default_topic="default")
DEFAULT = ReplyAddress(topic="default", correlation=b"c", qos=1, default_topic="default")


class Bench:
    """A publisher, and what it published: each outcome is given by the test."""

    def __init__(self) -> None:
        self.publications: list[Publication] = []
        self.outcomes: list[OutcomeCallback] = []
        self.reasons: list[str] = []
        self.done = 0
        self.publisher = ReplyPublisher(self._publish, on_undeliverable=self.reasons.append)

    def _publish(self, publication: Publication, *, on_outcome: OutcomeCallback | None = None) -> None:
        assert on_outcome is not None
        self.publications.append(publication)
        self.outcomes.append(on_outcome)

    def send(self, address: ReplyAddress = OWN, payload: bytes = b"[1, 2]", head: bytes = b'{"id": "r7"}') -> None:
        self.publisher.send(address, payload, code="ok", request_head=head, on_done=self._count)

    def _count(self) -> None:
        self.done += 1

    def conclude(self, outcome: PublishOutcome, reason: str = "") -> None:
        self.outcomes[-1](outcome, reason)

    @property
    def refusal(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.publications[-1].payload)
        return document


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_reply_is_done_once_the_broker_has_acknowledged_it(bench: Bench) -> None:
    bench.send()
    assert bench.done == 0
    bench.conclude(PublishOutcome.ACKNOWLEDGED)
    assert (bench.done, len(bench.publications), bench.reasons) == (1, 1, [])
    assert bench.publications[0][:3] == ("clients/me", b"[1, 2]", 1)


def test_a_reply_too_large_for_the_broker_is_replaced_on_the_same_topic(bench: Bench) -> None:
    bench.send()
    bench.conclude(PublishOutcome.TOO_LARGE, "the broker accepts at most 4")
    assert bench.publications[-1].topic == "clients/me"
    assert bench.refusal["code"] == "payload_too_large"
    assert bench.refusal["id"] == "r7"
    assert bench.reasons == ["reply of 6 bytes: the broker accepts at most 4"]
    assert bench.done == 0
    bench.conclude(PublishOutcome.ACKNOWLEDGED)
    assert bench.done == 1


@pytest.mark.parametrize("outcome", [PublishOutcome.REJECTED, PublishOutcome.DROPPED])
def test_a_reply_that_the_broker_rejects_is_replaced_on_the_default_topic(
    bench: Bench, outcome: PublishOutcome
) -> None:
    bench.send()
    bench.conclude(outcome, "Not authorized")
    assert bench.publications[-1].topic == "default"
    assert bench.publications[-1].qos == 1
    assert bench.refusal["code"] == "invalid_request"
    assert bench.refusal["error"] == "Response Topic 'clients/me': reply of 6 bytes: Not authorized"


def test_a_very_long_topic_is_cut_in_the_refusal(bench: Bench) -> None:
    bench.send(ReplyAddress(topic="x" * 90, correlation=None, qos=1, default_topic="default"))
    bench.conclude(PublishOutcome.REJECTED, "no")
    assert bench.refusal["error"] == f"Response Topic '{'x' * 80}': reply of 6 bytes: no"


def test_a_reply_rejected_on_the_default_topic_is_not_replaced(bench: Bench) -> None:
    bench.send(DEFAULT)
    bench.conclude(PublishOutcome.REJECTED, "Not authorized")
    assert (bench.done, len(bench.publications)) == (1, 1)
    assert bench.reasons == ["reply of 6 bytes: Not authorized"]


def test_a_topic_that_sorts_after_the_default_is_still_another_one(bench: Bench) -> None:
    bench.send(ReplyAddress(topic="zzz", correlation=None, qos=1, default_topic="default"))
    bench.conclude(PublishOutcome.REJECTED, "no")
    assert [publication.topic for publication in bench.publications] == ["zzz", "default"]


@pytest.mark.parametrize("outcome", list(PublishOutcome))
def test_whatever_becomes_of_the_refusal_the_request_is_done_once(bench: Bench, outcome: PublishOutcome) -> None:
    bench.send()
    bench.conclude(PublishOutcome.TOO_LARGE, "too large")
    bench.conclude(outcome, "no")
    assert (bench.done, len(bench.publications)) == (1, 2)


def test_a_request_without_an_id_is_refused_without_one(bench: Bench) -> None:
    bench.send(head=b"")
    bench.conclude(PublishOutcome.TOO_LARGE, "too large")
    assert "id" not in bench.refusal
