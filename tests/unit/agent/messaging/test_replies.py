"""The address of a reply and the properties that it carries."""

from __future__ import annotations

import pytest

from drupelet_agent.messaging.replies import ReplyAddress, default_address, reply_address, reply_properties
from drupelet_agent.mqtt.codec import decoding, packets
from drupelet_agent.mqtt.codec.encoding import read_variable
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.errors import RequestError

TOPICS = DeviceTopics("pi")
REQUEST = Message(TOPICS.infer("m"), b"{}", qos=1, mid=7)
DEFAULT = ReplyAddress(topic="default", correlation=None, qos=1, default_topic="default")


def read(properties: bytes) -> Message:
    """Return properties as a receiver of a publication reads them."""
    publication = Publication("a", b"", properties=properties)
    head = packets.encode_publish_head(publication, packet_id=1)
    _, start = read_variable(memoryview(head), 1)
    return decoding.decode_publish(head[0], memoryview(head)[start:])


class TestAddress:
    @pytest.mark.parametrize(("qos", "reply_qos"), [(0, 0), (1, 1), (2, 1)])
    def test_the_default_has_the_quality_of_the_request_up_to_1(self, qos: int, reply_qos: int) -> None:
        address = default_address(REQUEST._replace(qos=qos, correlation=b"c"), topic="t")
        assert address == ReplyAddress(topic="t", correlation=b"c", qos=reply_qos, default_topic="t")

    def test_a_response_topic_replaces_the_default_and_keeps_it_for_refusals(self) -> None:
        address = reply_address(REQUEST._replace(response_topic="clients/me"), TOPICS, DEFAULT)
        assert (address.topic, address.default_topic, address.takes_properties) == ("clients/me", "default", True)

    @pytest.mark.parametrize("knows_properties", [True, False])
    def test_a_sender_without_a_response_topic_gets_properties_if_it_sent_some(
        self,
        knows_properties: bool,  # noqa: FBT001 - a parameter of the test
    ) -> None:
        address = reply_address(REQUEST._replace(has_properties=knows_properties), TOPICS, DEFAULT)
        assert (address.topic, address.takes_properties) == ("default", knows_properties)

    def test_a_response_topic_that_this_device_listens_on_is_refused(self) -> None:
        with pytest.raises(RequestError):
            reply_address(REQUEST._replace(response_topic=TOPICS.infer("m")), TOPICS, DEFAULT)


class TestProperties:
    def test_a_json_reply_is_text_with_its_code(self) -> None:
        message = read(reply_properties(DEFAULT, code="overloaded"))
        assert message.content_type == "application/json"
        assert message.user_properties == (("code", "overloaded"),)
        assert message.correlation is None

    def test_the_correlation_data_is_repeated(self) -> None:
        address = ReplyAddress(topic="t", correlation=b"\x00\xff", qos=1, default_topic="t")
        assert read(reply_properties(address, code="ok")).correlation == b"\x00\xff"

    def test_a_binary_reply_tells_the_length_of_its_header(self) -> None:
        properties = reply_properties(DEFAULT, code="ok", content_type="application/octet-stream", header_length=12)
        message = read(properties)
        assert message.content_type == "application/octet-stream"
        assert dict(message.user_properties) == {"code": "ok", "Inference-Header-Content-Length": "12"}

    def test_only_json_is_marked_as_text(self) -> None:
        # Payload Format Indicator, MQTT 5 section 3.3.2.3.2: identifier 1, value 1.
        assert b"\x01\x01" in reply_properties(DEFAULT, code="ok")
        binary = reply_properties(DEFAULT, code="ok", content_type="application/octet-stream", header_length=1)
        assert b"\x01\x01" not in binary

    def test_a_sender_that_knows_no_properties_gets_none_unless_the_reply_needs_them(self) -> None:
        old = ReplyAddress(topic="t", correlation=None, qos=1, default_topic="t", takes_properties=False)
        assert reply_properties(old, code="ok") == b""
        assert reply_properties(old, code="ok", header_length=3) != b""
