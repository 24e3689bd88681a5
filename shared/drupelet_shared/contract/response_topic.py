"""Checks on a Response Topic: the topics to which a device sends replies, and those to which it never does."""

from __future__ import annotations

import re
from functools import lru_cache

from drupelet_shared.contract.topics import DEFAULT_PREFIX, DeviceTopics
from drupelet_shared.errors import RequestError

# Brokers end the connection of a client that publishes on a topic beyond their limits: mosquitto 2 allows 200 levels,
# EMQX 5 allows 128, and AWS IoT Core counts bytes.
MAX_TOPIC_BYTES = 1024
MAX_TOPIC_LEVELS = 64
# Home Assistant's discovery topics, under its default prefix.
_DISCOVERY_PREFIX = "homeassistant"
_SHOWN_CHARACTERS = 80
_WILDCARD = re.compile("[+#]")
# What a broker may treat as malformed (MQTT 5, sections 1.5.4 and 4.7.3): control characters, non-characters and
# surrogates. U+FFFD stands where the sender's bytes were no UTF-8.
_FORBIDDEN = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\ufdd0-\\ufdef\\ufffd-\\uffff\\ud800-\\udfff"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(1, 17))
    + "]"
)


# A client uses one topic for all its replies. What is refused raises, so that it is not kept.
@lru_cache(maxsize=64)
def check_response_topic(topic: str, topics: DeviceTopics) -> None:
    """Check that replies may be sent to a topic.

    Under the contract's prefix these are clients' own topics (`<prefix>/clients/<client id>/...`) and this device's
    `result/...`; every other topic there is one on which a device or pool receives or announces something.

    Args:
        topic: The Response Topic as it was read; bytes that are no UTF-8 appear as U+FFFD.
        topics: The topics of the device that would reply.

    Raises:
        RequestError: The topic is malformed, longer or deeper than brokers accept, reserved by the broker, or read by
            devices, pools or Home Assistant.
    """
    fault = _find_malformation(topic) or _find_reader(topic, topics)
    if fault is not None:
        shown = topic if len(topic) <= _SHOWN_CHARACTERS else f"{topic[:_SHOWN_CHARACTERS]}…"
        raise RequestError(f"Response Topic {shown!r}: {fault}")


def _find_malformation(topic: str) -> str | None:
    if not topic:
        return "expected a topic name, it is empty"
    if _FORBIDDEN.search(topic):
        return "expected valid UTF-8 without control characters"
    size = len(topic.encode())
    if size > MAX_TOPIC_BYTES:
        return f"it has {size} bytes, the limit is {MAX_TOPIC_BYTES}"
    levels = topic.count("/") + 1
    if levels > MAX_TOPIC_LEVELS:
        return f"it has {levels} levels, the limit is {MAX_TOPIC_LEVELS}"
    if _WILDCARD.search(topic):
        return "expected a topic name without wildcards"
    return None


def _find_reader(topic: str, topics: DeviceTopics) -> str | None:
    """Find who, other than a client, reads a topic."""
    if topic.startswith("$"):
        return "topics that start with '$' belong to the broker"
    if _is_under(topic, _DISCOVERY_PREFIX):
        return "replies are not sent to Home Assistant's topics"
    for prefix in {topics.prefix, DEFAULT_PREFIX}:
        if _is_under(topic, prefix) and not topic.startswith((f"{prefix}/clients/", f"{topics.base}/result/")):
            return (
                f"replies are not sent to topics of devices or pools; expected one under {prefix}/clients/<client id>/ "
                f"or outside {prefix}/"
            )
    return None


def _is_under(topic: str, prefix: str) -> bool:
    return topic == prefix or topic.startswith(f"{prefix}/")
