"""The reason codes of MQTT 5 in words, and what a refusal means for the person who runs the device (section 2.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drupelet_agent.mqtt.status import ConnectionProblem as Problem

# Codes from here on are failures.
FAILURE: Final = 0x80
UNSPECIFIED_ERROR: Final = 0x80
PACKET_TOO_LARGE: Final = 0x95
RETAIN_NOT_SUPPORTED: Final = 0x9A
QOS_NOT_SUPPORTED: Final = 0x9B
SHARED_NOT_SUPPORTED: Final = 0x9E
WILDCARDS_NOT_SUPPORTED: Final = 0xA2

_NAMES: Mapping[int, str] = {
    0x00: "Success",
    0x80: "Unspecified error",
    0x81: "Malformed Packet",
    0x82: "Protocol Error",
    0x83: "Implementation specific error",
    0x84: "Unsupported Protocol Version",
    0x85: "Client Identifier not valid",
    0x86: "Bad user name or password",
    0x87: "Not authorized",
    0x88: "Server unavailable",
    0x89: "Server busy",
    0x8A: "Banned",
    0x8B: "Server shutting down",
    0x8C: "Bad authentication method",
    0x8D: "Keep Alive timeout",
    0x8E: "Session taken over",
    0x8F: "Topic Filter invalid",
    0x90: "Topic Name invalid",
    0x91: "Packet Identifier in use",
    0x93: "Receive Maximum exceeded",
    0x94: "Topic Alias invalid",
    0x95: "Packet too large",
    0x96: "Message rate too high",
    0x97: "Quota exceeded",
    0x98: "Administrative action",
    0x99: "Payload format invalid",
    0x9A: "Retain not supported",
    0x9B: "QoS not supported",
    0x9C: "Use another server",
    0x9D: "Server moved",
    0x9E: "Shared Subscriptions not supported",
    0x9F: "Connection rate exceeded",
    0xA0: "Maximum connect time",
    0xA1: "Subscription Identifiers not supported",
    0xA2: "Wildcard Subscriptions not supported",
}


# The return codes of a CONNACK of MQTT 3.1.1 (section 3.2.2.3 of that version).
_NAMES_311: Mapping[int, str] = {
    1: "unacceptable protocol version",
    2: "identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}

_PROBLEMS: Mapping[int, Problem] = {
    0x84: Problem.PROTOCOL_VERSION,
    0x86: Problem.ACCOUNT_REFUSED,
    0x87: Problem.ACCOUNT_REFUSED,
    0x88: Problem.BUSY,
    0x89: Problem.BUSY,
    0x8A: Problem.ACCOUNT_REFUSED,
    0x8B: Problem.BUSY,
    0x8C: Problem.ACCOUNT_REFUSED,
    0x8D: Problem.NO_ANSWER,
    0x8E: Problem.CLIENT_ID_TAKEN,
    0x97: Problem.BUSY,
    0x9A: Problem.UNSUPPORTED,
    0x9B: Problem.UNSUPPORTED,
    0x9E: Problem.UNSUPPORTED,
    0x9F: Problem.BUSY,
    0xA0: Problem.BUSY,
    0xA1: Problem.UNSUPPORTED,
    0xA2: Problem.UNSUPPORTED,
}

_ADVICE: Mapping[int, str] = {
    0x84: "use a broker that speaks MQTT 5",
    0x85: "the broker does not allow this client identifier",
    0x86: "correct the user name and the password, or add the account to the broker",
    0x87: "allow this account in the broker",
    0x8A: "the broker bans this client",
    0x8E: "another client uses the same client identifier: give each device a name of its own",
    0x9C: "configure the address of the other broker",
    0x9D: "configure the broker's new address",
    0xA2: "use a broker that allows wildcards in topic filters",
}

# Reason codes of a DISCONNECT packet with which a publication has nothing to do.
_NOT_BY_PUBLICATION = frozenset({0x88, 0x89, 0x8B, 0x8D, 0x8E, 0x98, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2})


def describe_reason(code: int, text: str | None = None) -> str:
    """Describe a reason code in words, with what the broker added to it."""
    name = _NAMES.get(code, f"reason code {code:#04x}")
    return f"{name} ({text})" if text else name


def advise(code: int, text: str | None = None) -> str:
    """Describe a reason code in words, with what a person can do about it."""
    advice = _ADVICE.get(code)
    return f"{describe_reason(code, text)}: {advice}" if advice else describe_reason(code, text)


def describe_return_code(code: int) -> str:
    """Describe the return code of a CONNACK of MQTT 3.1.1 in words."""
    return _NAMES_311.get(code, f"return code {code}")


def problem_of_refusal(code: int) -> Problem:
    """Classify the reason code of a CONNACK packet."""
    return _PROBLEMS.get(code, Problem.REFUSED)


def problem_of_disconnect(code: int) -> Problem:
    """Classify the reason code of a DISCONNECT packet."""
    if code in {0x9C, 0x9D}:
        return Problem.REFUSED
    return _PROBLEMS.get(code, Problem.CLOSED)


def may_blame_publication(code: int) -> bool:
    """Return whether a broker that disconnects with this reason code may do so because of a publication."""
    return code not in _NOT_BY_PUBLICATION
