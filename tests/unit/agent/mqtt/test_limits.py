"""What a broker allows, read from its CONNACK (MQTT 5, section 3.2.2.3)."""

from __future__ import annotations

import pytest

from drupelet_agent.mqtt.codec.properties import Properties
from drupelet_agent.mqtt.limits import BrokerLimits


def test_a_broker_that_names_no_limits_has_those_of_the_specification() -> None:
    limits = BrokerLimits.from_properties(Properties())
    assert limits == BrokerLimits()
    assert (limits.receive_maximum, limits.maximum_qos, limits.maximum_packet_bytes) == (65_535, 2, None)
    assert limits.retain_available
    assert limits.wildcard_available
    assert limits.shared_available


@pytest.mark.parametrize("qos", [0, 1])
def test_a_maximum_of_qos_0_is_a_limit_too(qos: int) -> None:
    assert BrokerLimits.from_properties(Properties(maximum_qos=qos)).maximum_qos == qos


@pytest.mark.parametrize("feature", ["retain_available", "wildcard_available", "shared_available"])
def test_a_feature_is_missing_only_where_the_broker_says_so(feature: str) -> None:
    for value, available in [(0, False), (1, True), (None, True)]:
        limits = BrokerLimits.from_properties(Properties(**{feature: value}))  # type: ignore[arg-type]
        others = {"retain_available", "wildcard_available", "shared_available"} - {feature}
        assert getattr(limits, feature) is available
        assert all(getattr(limits, other) for other in others)


def test_numbers_and_names_are_taken_as_they_are() -> None:
    properties = Properties(
        maximum_packet_bytes=300, receive_maximum=1, server_keepalive_s=0, assigned_client_id="broker-7"
    )
    limits = BrokerLimits.from_properties(properties)
    assert (limits.maximum_packet_bytes, limits.receive_maximum) == (300, 1)
    assert (limits.server_keepalive_s, limits.assigned_client_id) == (0, "broker-7")
