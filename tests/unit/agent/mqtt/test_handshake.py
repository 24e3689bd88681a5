"""CONNECT packets, and what the answers of a broker mean."""

from __future__ import annotations

import pytest

from drupelet_agent.mqtt.codec.decoding import ConnectAnswer
from drupelet_agent.mqtt.codec.properties import Properties
from drupelet_agent.mqtt.errors import ConnectFailedError
from drupelet_agent.mqtt.link.handshake import Handshake
from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_agent.mqtt.reasons import QOS_NOT_SUPPORTED, RETAIN_NOT_SUPPORTED
from drupelet_agent.mqtt.status import ConnectionProblem

WILL = Publication("status", b"offline", qos=1, retain=True)
BROKER = "broker localhost:1883"
# The connect flags follow the protocol name and version (section 3.1.2.3).
FLAGS_AT = 2 + len(b"\x00\x04MQTT\x05")
WILL_FLAG, WILL_QOS_1, WILL_RETAIN, PASSWORD, USER_NAME = 0x04, 0x08, 0x20, 0x40, 0x80


def make(**options: object) -> Handshake:
    return Handshake(ConnectionOptions(host="localhost", port=1883, client_id="pi", **options))  # type: ignore[arg-type]


def answer(code: int, **properties: str) -> ConnectAnswer:
    return ConnectAnswer(session_present=False, reason=code, properties=Properties(**properties))  # type: ignore[arg-type]


def refused(handshake: Handshake, code: int, **properties: str) -> ConnectFailedError:
    error = handshake.examine(answer(code, **properties), BROKER)
    assert error is not None
    return error


def test_the_flags_tell_what_the_packet_carries() -> None:
    assert make().encode()[FLAGS_AT] == 0
    assert make(username="me", password=b"x").encode()[FLAGS_AT] == USER_NAME | PASSWORD
    assert make(will=WILL).encode()[FLAGS_AT] == WILL_FLAG | WILL_QOS_1 | WILL_RETAIN


def test_the_packet_carries_the_account_the_will_and_the_keep_alive() -> None:
    packet = make(username="me", password=b"hunter2", will=WILL, keepalive_s=258).encode()
    assert packet[FLAGS_AT + 1 : FLAGS_AT + 3] == b"\x01\x02"
    for text in (b"\x00\x02pi", b"\x00\x06status", b"\x00\x07offline", b"\x00\x02me", b"\x00\x07hunter2"):
        assert text in packet


def test_an_accepted_connection_has_no_error() -> None:
    assert make().examine(answer(0), BROKER) is None


def test_a_broker_of_mqtt_3_is_told_by_its_packet_and_its_return_code_in_words() -> None:
    old = ConnectAnswer(session_present=False, reason=1, properties=Properties(), is_mqtt_5=False)
    error = make().examine(old, BROKER)
    assert error is not None
    assert error.problem is ConnectionProblem.PROTOCOL_VERSION
    assert str(error).startswith(
        f"{BROKER} refuses the connection: it speaks MQTT 3.1.1 (return code 1, unacceptable protocol version)"
    )


def test_a_refusal_names_the_broker_the_reason_and_what_to_do() -> None:
    error = refused(make(), 0x86, reason="no such user")
    assert error.problem is ConnectionProblem.ACCOUNT_REFUSED
    assert str(error) == (
        f"{BROKER} refuses the connection: Bad user name or password (no such user): correct the user name and the "
        "password, or add the account to the broker"
    )


def test_a_reference_to_another_server_stands_where_there_is_no_explanation() -> None:
    assert "Server moved (broker-2)" in str(refused(make(), 0x9D, server_reference="broker-2"))
    assert "(why)" in str(refused(make(), 0x9D, server_reference="broker-2", reason="why"))


@pytest.mark.parametrize(
    ("reason", "flags"),
    [
        (QOS_NOT_SUPPORTED, WILL_FLAG | WILL_RETAIN),
        (RETAIN_NOT_SUPPORTED, WILL_FLAG | WILL_QOS_1),
        (0x87, WILL_FLAG | WILL_QOS_1 | WILL_RETAIN),
    ],
)
def test_the_next_packet_gives_up_what_the_broker_refuses_of_the_will(reason: int, flags: int) -> None:
    handshake = make(will=WILL)
    refused(handshake, reason)
    assert handshake.encode()[FLAGS_AT] == flags


@pytest.mark.parametrize("reason", [QOS_NOT_SUPPORTED, RETAIN_NOT_SUPPORTED])
def test_a_client_without_a_will_has_nothing_to_give_up(reason: int) -> None:
    handshake = make()
    refused(handshake, reason)
    assert handshake.encode()[FLAGS_AT] == 0


def test_both_features_of_a_will_can_be_given_up() -> None:
    handshake = make(will=WILL)
    for reason in (QOS_NOT_SUPPORTED, RETAIN_NOT_SUPPORTED):
        refused(handshake, reason)
    assert handshake.encode()[FLAGS_AT] == WILL_FLAG


def test_a_will_has_a_delay_only_where_one_is_configured() -> None:
    # Will Delay Interval: identifier 0x18 and four bytes of seconds, after the length of the will's properties.
    assert b"\x05\x18\x00\x00\x00\x07\x00\x06status" in make(will=WILL, will_delay_s=7).encode()
    assert b"\x00\x00\x06status" in make(will=WILL).encode()
