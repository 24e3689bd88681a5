"""Where replies may go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drupelet_shared.contract.response_topic import MAX_TOPIC_BYTES, MAX_TOPIC_LEVELS, check_response_topic
from drupelet_shared.contract.topics import DeviceTopics, FleetTopics, PoolTopics
from drupelet_shared.errors import RequestError

TOPICS = DeviceTopics("pi")
OTHER = DeviceTopics("other")
DIGEST = "0" * 64


@pytest.mark.parametrize(
    "topic",
    [
        "drupelet/v1/clients/me/reply",
        "tests/replies",
        "/leading",
        "a//b",
        "clients/ü/reply",
        "drupelet/v2/other/command/list",
        "homeassistantx/status",
        TOPICS.result("digits"),
        "x" * MAX_TOPIC_BYTES,
        "/" * (MAX_TOPIC_LEVELS - 1),
    ],
)
def test_clients_own_topics_are_allowed(topic: str) -> None:
    check_response_topic(topic, TOPICS)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "a/+",
        "a/#",
        "$SYS/broker/uptime",
        "$share/pool/x",
        "a\0b",
        "$CONTROL/dynamic-security/v1",
        "a\x1fb",
        "a\x7fb",
        "a\x85b",
        "a\ufffdb",
        "a\ufffeb",
        "a\ufdd0b",
        "a\U0001ffffb",
        f"a{chr(0xD800)}b",
        "x" * (MAX_TOPIC_BYTES + 1),
        # 21,846 bytes that are no UTF-8, as they are read: three bytes each when they are written.
        "\ufffd" * 21_846,
        "ü" * (MAX_TOPIC_BYTES // 2 + 1),
        "/" * MAX_TOPIC_LEVELS,
        "a/" * 250 + "b",
    ],
)
def test_what_a_broker_may_not_take_is_refused(topic: str) -> None:
    with pytest.raises(RequestError) as refused:
        check_response_topic(topic, TOPICS)
    # The refusal does not send back a topic of any length.
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    "topic",
    [
        topic
        for device in (TOPICS, OTHER)
        for topic in (
            device.base,
            device.status,
            device.event,
            device.echo,
            device.infer("m"),
            device.infer("m", "1"),
            device.command("list"),
            device.command_result("list"),
            device.upload(DIGEST),
            device.upload_state(DIGEST),
            device.desired("m"),
            device.delivery("m"),
            device.model_state("m"),
            device.model_telemetry("m"),
            device.device_telemetry,
        )
    ]
    + [
        OTHER.result("m"),
        PoolTopics("door").infer("m"),
        "drupelet/v1",
        "homeassistant/status",
        "homeassistant/device/drupelet_pi/config",
    ],
)
def test_what_a_device_a_pool_or_home_assistant_reads_is_refused(topic: str) -> None:
    with pytest.raises(RequestError, match="replies are not sent"):
        check_response_topic(topic, TOPICS)


def test_a_device_with_a_prefix_of_its_own_sends_replies_to_no_device_with_the_default_prefix() -> None:
    topics = DeviceTopics("pi", prefix="site/drupelet")
    for topic in (OTHER.command("list"), DeviceTopics("other", prefix="site/drupelet").command("list")):
        with pytest.raises(RequestError):
            check_response_topic(topic, topics)
    check_response_topic("site/drupelet/clients/me/reply", topics)
    check_response_topic("drupelet/v1/clients/me/reply", topics)


@given(st.text(max_size=40), st.sampled_from(["", "drupelet/v1/", "drupelet/v1/other/", "drupelet/v1/pool/"]))
def test_no_topic_that_is_allowed_is_an_announcement_or_cannot_be_published(text: str, start: str) -> None:
    topic = start + text
    try:
        check_response_topic(topic, TOPICS)
    except RequestError:
        return
    assert FleetTopics().parse(topic) is None
    assert 0 < len(topic.encode()) <= MAX_TOPIC_BYTES
    assert not {"+", "#", "\0"} & set(topic)
