"""What parent and worker say to each other: packets on a socket, large payloads in shared memory slots.

The socket keeps packet boundaries (SOCK_SEQPACKET). The shared memory is one anonymous file, divided into `SLOTS`
slots of equal size; a request is written into a slot and its reply comes back in the same slot, so that the next
request can be put in place while the worker computes. A payload of up to `INLINE_BYTES` travels in the packet instead.

Requests and replies are packed, which takes 3 µs where JSON takes 15, and named tuples, which are made several times
faster than frozen dataclasses; everything else is rare and JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from struct import Struct, error
from typing import NamedTuple

from drupelet_agent.errors import WorkerError

SLOTS = 2
MAX_PACKET_BYTES = 65_536
INLINE_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How a worker is started: what it loads, how, and with what it talks.

    Attributes:
        memory_limit_bytes: What it may allocate; 0 is no limit.
        profile_folder: Where it may write a profile of what it runs; it records and writes nothing without.
    """

    package_folder: str
    variant: str
    threads: int
    memory_limit_bytes: int
    slot_bytes: int
    profile_folder: str | None = None
    socket_fd: int = -1
    memory_fd: int = -1


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker to parent: the model is loaded; `sandbox_gaps` names the protections that the kernel refused."""

    engine_version: str
    load_ms: float
    sandbox_gaps: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker to parent: what was asked cannot be done; after a failure to load the worker ends."""

    code: str
    message: str


class Infer(NamedTuple):
    """Parent to worker: answer the request in a slot, unless the monotonic clock has passed `deadline_s`.

    `payload` is None where it lies in the slot.
    """

    slot: int
    length: int
    content_type: str | None
    header_length: int | None
    deadline_s: float | None
    payload: bytes | None = None


class Replied(NamedTuple):
    """Worker to parent: the reply, in the slot where `payload` is None; `code` is "ok" or an error's code."""

    slot: int
    length: int
    content_type: str
    header_length: int | None
    code: str
    started_s: float
    decode_ms: float
    inference_ms: float
    encode_ms: float
    payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class MemorySpent:
    """Worker to parent, its last word: engines keep or lose what they took for a request that ran out of memory."""


@dataclass(frozen=True, slots=True)
class CheckGolden:
    """Parent to worker: compare with the variant's golden vectors."""


@dataclass(frozen=True, slots=True)
class GoldenPassed:
    """Worker to parent: the largest difference found, as a fraction of the outputs' magnitude."""

    difference: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Parent to worker: time single inferences."""

    warmup: int
    runs: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Worker to parent: percentiles and mean, and the most memory the process has ever held."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    runs: int
    mean_ms: float
    footprint_bytes: int


@dataclass(frozen=True, slots=True)
class EndProfile:
    """Parent to worker: write the profile of everything since the start; later inferences are not recorded."""


@dataclass(frozen=True, slots=True)
class Profiled:
    """Worker to parent: the profile's name in the folder that the worker was given."""

    name: str


_Rare = Ready | Failed | MemorySpent | CheckGolden | GoldenPassed | Benchmark | Measured | EndProfile | Profiled
Message = Infer | Replied | _Rare
_RARE: Mapping[str, type[_Rare]] = {
    kind.__name__: kind
    for kind in (Ready, Failed, MemorySpent, CheckGolden, GoldenPassed, Benchmark, Measured, EndProfile, Profiled)
}

# Kind, slot, whether the payload follows, lengths of payload, header and text; -1 and NaN stand for None.
_INFER = Struct("<cB?qqid")
# The same, and the times.
_REPLIED = Struct("<cB?qqiidddd")
_INFER_KIND, _REPLIED_KIND = b"I", b"R"
_NOTHING = -1
# Media types are short; what strangers write there may have 64 KiB.
_LONGEST_TYPE = 256


def encode_message(message: Message) -> bytes:
    """One packet; long error texts are cut so that it fits."""
    if isinstance(message, Infer):
        return _pack_infer(message)
    if isinstance(message, Replied):
        return _pack_replied(message)
    if isinstance(message, Failed) and len(message.message) > MAX_PACKET_BYTES // 8:
        message = Failed(code=message.code, message=message.message[: MAX_PACKET_BYTES // 8] + "…")
    values = {field.name: getattr(message, field.name) for field in fields(message)}
    return json.dumps({"kind": type(message).__name__, **values}).encode()


def decode_message(packet: bytes) -> Message:
    """The message in a packet.

    Raises:
        WorkerError: It is not one of ours.
    """
    try:
        if packet[:1] == _INFER_KIND:
            return _unpack_infer(packet)
        if packet[:1] == _REPLIED_KIND:
            return _unpack_replied(packet)
        values = json.loads(packet)
        return _RARE[values.pop("kind")](**values)
    except (ValueError, KeyError, TypeError, AttributeError, error) as fault:
        raise WorkerError(f"malformed packet of {len(packet)} bytes between agent and worker: {fault}") from fault


def _pack_infer(message: Infer) -> bytes:
    text = None if message.content_type is None else message.content_type[:_LONGEST_TYPE].encode()
    head = _INFER.pack(
        _INFER_KIND,
        message.slot,
        message.payload is not None,
        message.length,
        _NOTHING if message.header_length is None else message.header_length,
        _NOTHING if text is None else len(text),
        math.nan if message.deadline_s is None else message.deadline_s,
    )
    return b"".join((head, text or b"", message.payload or b""))


def _unpack_infer(packet: bytes) -> Infer:
    _, slot, inline, length, header_length, text_length, deadline_s = _INFER.unpack_from(packet)
    end = _INFER.size + max(text_length, 0)
    return Infer(
        slot=slot,
        length=length,
        content_type=None if text_length == _NOTHING else str(packet[_INFER.size : end], "utf-8"),
        header_length=None if header_length == _NOTHING else header_length,
        deadline_s=None if math.isnan(deadline_s) else deadline_s,
        payload=packet[end:] if inline else None,
    )


def _pack_replied(message: Replied) -> bytes:
    content_type, code = message.content_type.encode(), message.code.encode()
    head = _REPLIED.pack(
        _REPLIED_KIND,
        message.slot,
        message.payload is not None,
        message.length,
        _NOTHING if message.header_length is None else message.header_length,
        len(content_type),
        len(code),
        message.started_s,
        message.decode_ms,
        message.inference_ms,
        message.encode_ms,
    )
    return b"".join((head, content_type, code, message.payload or b""))


def _unpack_replied(packet: bytes) -> Replied:
    _, slot, inline, length, header_length, type_length, code_length, *times = _REPLIED.unpack_from(packet)
    middle = _REPLIED.size + type_length
    end = middle + code_length
    started_s, decode_ms, inference_ms, encode_ms = times
    return Replied(
        slot=slot,
        length=length,
        content_type=str(packet[_REPLIED.size : middle], "utf-8"),
        header_length=None if header_length == _NOTHING else header_length,
        code=str(packet[middle:end], "utf-8"),
        started_s=started_s,
        decode_ms=decode_ms,
        inference_ms=inference_ms,
        encode_ms=encode_ms,
        payload=packet[end:] if inline else None,
    )
