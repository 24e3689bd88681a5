"""Requests as MQTT packets, through the dispatcher to the reply: each is answered once where replies may go."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from drupelet_agent.messaging.reply_publisher import ReplyPublisher
from drupelet_agent.messaging.requests import RequestHandler
from drupelet_agent.mqtt.codec import decoding, packets
from drupelet_agent.mqtt.codec.encoding import write_text
from drupelet_agent.mqtt.codec.framing import Framer
from drupelet_agent.mqtt.codec.properties import publish_properties
from drupelet_agent.mqtt.errors import EncodingError, ProtocolError
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.outcome import OutcomeCallback, PublishOutcome
from drupelet_agent.serving.byte_budget import ByteBudget
from drupelet_agent.serving.job import Job, Outcome
from drupelet_shared.contract.response_topic import MAX_TOPIC_BYTES, MAX_TOPIC_LEVELS
from drupelet_shared.contract.topics import DeviceTopics, FleetTopics
from fakes.clock import FakeClock
from fuzz.target import Target

_TOPICS = DeviceTopics("pi")
_LIMIT_BYTES = 65_536
_REPLY = b"[1]"


class _Echo:
    """A server that answers each job at once."""

    def submit(self, job: Job) -> None:
        job.finish(Outcome(code="ok", payload=_REPLY))


def check_request(data: bytes) -> bool:
    """A request of any properties is answered once, on a topic that a broker takes and no device reads."""
    taken = False
    try:
        for first, body in Framer(max_packet_bytes=_LIMIT_BYTES).feed(data):
            if first >> 4 == packets.PUBLISH:
                taken |= _answer(decoding.decode_publish(first, body))
    except ProtocolError:
        return False
    return taken


def _answer(message: Message) -> bool:
    replies: list[Publication] = []
    acknowledged: list[bool] = []

    def publish(publication: Publication, *, on_outcome: OutcomeCallback | None = None) -> None:
        replies.append(publication)
        assert on_outcome is not None
        on_outcome(PublishOutcome.ACKNOWLEDGED, "")

    handler = RequestHandler(
        _TOPICS,
        lambda *_: _Echo(),
        filters=_TOPICS.infer_filters,
        replies=ReplyPublisher(publish),
        budget=ByteBudget(_LIMIT_BYTES),
        corked=_together,
        unacknowledged=lambda: 1,
        clock=FakeClock(),
    )
    handler.handle(message._replace(topic=_TOPICS.infer("digits")), lambda: acknowledged.append(True))
    (reply,) = replies
    assert acknowledged == [True]
    assert handler.in_progress == 0
    _check_topic(reply.topic)
    try:
        packets.encode_publish_head(reply, packet_id=1)
    except EncodingError as error:
        raise AssertionError("a reply that cannot be sent") from error
    return reply.payload == _REPLY


def _check_topic(topic: str) -> None:
    assert 0 < len(topic.encode()) <= MAX_TOPIC_BYTES
    assert topic.count("/") < MAX_TOPIC_LEVELS
    assert not topic.startswith("$")
    assert FleetTopics().parse(topic) is None
    assert not topic.startswith((f"{_TOPICS.base}/infer/", f"{_TOPICS.base}/command/", f"{_TOPICS.prefix}/pool/"))


def _together() -> AbstractContextManager[None]:
    return nullcontext()


def _seed(*, response_topic: str | None, header_length: str | None = None) -> bytes:
    pairs = [("Inference-Header-Content-Length", header_length)] if header_length is not None else []
    properties = publish_properties(
        content_type="application/json", is_text=True, correlation=b"1234", user_properties=pairs
    )
    if response_topic is not None:
        properties += b"\x08" + write_text(response_topic)
    publication = Publication(_TOPICS.infer("digits"), b'{"id": "1", "inputs": []}', properties=properties)
    return packets.encode_publish_head(publication, packet_id=7) + publication.payload


REQUESTS = Target(
    name="requests",
    seeds=(
        _seed(response_topic="drupelet/v1/clients/me/reply"),
        _seed(response_topic=None),
        _seed(response_topic=_TOPICS.result("digits"), header_length="2"),
        _seed(response_topic="a/b/c"),
    ),
    check=check_request,
)
