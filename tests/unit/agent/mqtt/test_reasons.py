"""Reason codes: their names in the specification (MQTT 5, section 2.4), and what the client makes of them."""

from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from drupelet_agent.mqtt import reasons
from drupelet_agent.mqtt.reasons import (
    advise,
    describe_reason,
    describe_return_code,
    may_blame_publication,
    problem_of_disconnect,
    problem_of_refusal,
)
from drupelet_agent.mqtt.status import ConnectionProblem as Problem

FAILURES = sorted(set(range(0x80, 0xA3)) - {0x92})


def name_in_paho(code: int) -> str:
    """The name that another client gives to a code of a CONNACK, PUBACK or DISCONNECT packet."""
    for packet_type in (PacketTypes.CONNACK, PacketTypes.DISCONNECT, PacketTypes.PUBACK, PacketTypes.SUBACK):
        try:
            return str(ReasonCode(packet_type, identifier=code)).lower().replace("subscriptions", "subscription")
        except (KeyError, ValueError):
            continue
    raise KeyError(code)


@pytest.mark.parametrize("code", FAILURES)
def test_a_failure_has_the_name_that_other_clients_give_it(code: int) -> None:
    # paho writes the subscriptions of three codes in the singular.
    assert describe_reason(code).lower().replace("subscriptions", "subscription") == name_in_paho(code)


def test_codes_that_the_client_acts_on_have_their_values() -> None:
    assert describe_reason(reasons.PACKET_TOO_LARGE) == "Packet too large"
    assert describe_reason(reasons.RETAIN_NOT_SUPPORTED) == "Retain not supported"
    assert describe_reason(reasons.QOS_NOT_SUPPORTED) == "QoS not supported"
    assert describe_reason(reasons.SHARED_NOT_SUPPORTED) == "Shared Subscriptions not supported"
    assert describe_reason(reasons.WILDCARDS_NOT_SUPPORTED) == "Wildcard Subscriptions not supported"
    assert describe_reason(reasons.UNSPECIFIED_ERROR) == "Unspecified error"
    assert describe_reason(0) == "Success"
    assert min(FAILURES) == reasons.FAILURE


def test_an_unknown_code_is_shown_as_a_number() -> None:
    assert describe_reason(0x92) == "reason code 0x92"
    assert describe_return_code(9) == "return code 9"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1, "unacceptable protocol version"),
        (2, "identifier rejected"),
        (3, "server unavailable"),
        (4, "bad user name or password"),
        (5, "not authorized"),
    ],
)
def test_return_codes_of_mqtt_3_have_words(code: int, words: str) -> None:
    assert describe_return_code(code) == words


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (0x84, "speaks MQTT 5"),
        (0x85, "client identifier"),
        (0x86, "user name"),
        (0x87, "allow this account"),
        (0x8A, "bans this client"),
        (0x8E, "a name of its own"),
        (0x9C, "other broker"),
        (0x9D, "new address"),
        (0xA2, "wildcards"),
    ],
)
def test_what_a_person_can_mend_comes_with_advice(code: int, advice: str) -> None:
    assert advice in advise(code)
    assert advise(code).startswith(describe_reason(code))


def test_what_nobody_can_mend_comes_without_advice() -> None:
    assert advise(0x80, "why") == "Unspecified error (why)"


@pytest.mark.parametrize(
    ("problem", "codes"),
    [
        (Problem.PROTOCOL_VERSION, {0x84}),
        (Problem.ACCOUNT_REFUSED, {0x86, 0x87, 0x8A, 0x8C}),
        (Problem.BUSY, {0x88, 0x89, 0x8B, 0x97, 0x9F, 0xA0}),
        (Problem.NO_ANSWER, {0x8D}),
        (Problem.CLIENT_ID_TAKEN, {0x8E}),
        (Problem.UNSUPPORTED, {0x9A, 0x9B, 0x9E, 0xA1, 0xA2}),
    ],
)
def test_a_refusal_and_a_disconnect_are_classified_alike(problem: Problem, codes: set[int]) -> None:
    assert {code for code in FAILURES if problem_of_refusal(code) is problem} == codes
    assert {code for code in FAILURES if problem_of_disconnect(code) is problem} == codes


def test_other_codes_are_a_refusal_or_a_closed_connection() -> None:
    assert problem_of_refusal(0x81) is Problem.REFUSED
    assert problem_of_disconnect(0x81) is Problem.CLOSED
    assert {problem_of_disconnect(code) for code in (0x9C, 0x9D)} == {Problem.REFUSED}


def test_a_publication_is_blamed_only_for_reasons_that_it_can_cause() -> None:
    innocent = {code for code in FAILURES if not may_blame_publication(code)}
    busy_or_other = {0x88, 0x89, 0x8B, 0x8D, 0x8E, 0x98, 0x9C, 0x9D, 0x9F, 0xA0}
    subscriptions = {0x9E, 0xA1, 0xA2}
    assert innocent == busy_or_other | subscriptions
    assert may_blame_publication(0)
