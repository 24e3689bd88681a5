"""Packed reply properties against paho's own reader."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from drupelet_agent.mqtt.properties import ReplyProperties

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)


@given(TEXT, st.booleans(), st.none() | st.binary(max_size=300), st.lists(st.tuples(TEXT, TEXT), max_size=3))
def test_paho_reads_what_is_packed(
    content_type: str,
    is_text: bool,  # noqa: FBT001 - a test's parameter
    correlation: bytes | None,
    pairs: list[tuple[str, str]],
) -> None:
    packed = ReplyProperties(
        content_type=content_type, is_text=is_text, correlation=correlation, user_properties=pairs
    ).pack()
    read = Properties(PacketTypes.PUBLISH)
    _, length = read.unpack(packed)
    assert length == len(packed)
    assert read.ContentType == content_type
    assert getattr(read, "PayloadFormatIndicator", 0) == int(is_text)
    assert getattr(read, "CorrelationData", None) == correlation
    assert getattr(read, "UserProperty", []) == pairs
