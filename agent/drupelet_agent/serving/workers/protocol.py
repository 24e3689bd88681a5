"""The messages between parent and worker: packets on a socket, large payloads in slots of shared memory.

The socket keeps packet boundaries (SOCK_SEQPACKET). The shared memory is one anonymous file of `SLOTS` slots of equal
size. A reply uses the slot of its request, so that the next request can be written while the worker computes. A payload
of up to `INLINE_BYTES` travels in the packet instead.

Requests and replies are packed binary (3 µs, where JSON takes 15) and are named tuples, which are created several times
faster than frozen dataclasses. All other messages are rare, and JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from struct import Struct, error
from typing import NamedTuple, get_args

from drupelet_agent.errors import WorkerError
from drupelet_shared.timing import Interval, Timing

SLOTS = 2
MAX_PACKET_BYTES = 65_536
INLINE_BYTES = 32_768
# The times of one turn fit in a packet.
MAX_TIMED_RUNS = 1000


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How a worker is started.

    Attributes:
        package_folder: The unpacked, verified package.
        variant: The variant to load.
        threads: Threads of the engine.
        memory_limit_bytes: The most memory it may allocate; 0 is no limit.
        slot_bytes: Size of each slot of the shared memory, and so of the largest payload.
        profile_folder: Where it writes the profile of what it runs; None records none.
        socket_fd: The worker's end of the channel; the parent sets it.
        memory_fd: The shared memory; the parent sets it.
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
    """Worker to parent: the model is loaded.

    Attributes:
        engine_version: The version of the engine that runs it.
        load_ms: How long loading took.
        sandbox_gaps: The protections that the kernel refused, separated by commas.
    """

    engine_version: str
    load_ms: float
    sandbox_gaps: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker to parent: the request of the parent failed; after a failure to load, the worker ends."""

    code: str
    message: str


class Infer(NamedTuple):
    """Parent to worker: answer a request.

    Attributes:
        slot: The slot of shared memory.
        length: The length of the payload in bytes.
        content_type: The Content Type; None where the request names none.
        header_length: Bytes of JSON at the start of the payload; None if there is no header.
        deadline_s: The time of the monotonic clock after which the request has expired; None for no deadline.
        payload: The payload; None if it is in the slot.
    """

    slot: int
    length: int
    content_type: str | None
    header_length: int | None
    deadline_s: float | None
    payload: bytes | None = None


class Replied(NamedTuple):
    """Worker to parent: the reply to a request.

    Attributes:
        slot: The slot of shared memory.
        length: The length of the payload in bytes.
        content_type: The Content Type.
        header_length: Bytes of JSON at the start of the payload; None if there is no header.
        code: "ok" or the code of an error.
        started_s: The time of the monotonic clock at which the worker started.
        decode_ms: The time of decoding.
        inference_ms: The time in the engine.
        encode_ms: The time of encoding.
        payload: The payload; None if it is in the slot.
    """

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
    """Worker to parent, as its last message: a request ran out of memory, and engines do not free all that it took."""


@dataclass(frozen=True, slots=True)
class CheckGolden:
    """Parent to worker: compare the outputs with the variant's golden vectors."""


@dataclass(frozen=True, slots=True)
class GoldenPassed:
    """Worker to parent: the outputs agree; `difference` is the largest one, as a fraction of the outputs' magnitude."""

    difference: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Parent to worker: time single inferences.

    Attributes:
        warmup: Runs that are not counted, first.
        runs: Runs that are counted.
        max_seconds: The longest time for each of the two; each makes at least one run.
    """

    warmup: int
    runs: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Worker to parent: the timing of all runs since its start, over every `Benchmark` so far.

    Attributes:
        p50_ms: The median.
        p95_ms: The 95th percentile.
        p99_ms: The 99th percentile.
        runs: How many inferences were timed.
        mean_ms: The mean.
        p50_low_ms: The lower bound of the median's confidence interval.
        p50_high_ms: Its upper bound; may be infinite, as may that of the 99th percentile.
        p99_low_ms: The lower bound of the 99th percentile's.
        p99_high_ms: Its upper bound.
        footprint_bytes: The most memory that the process has held.
    """

    p50_ms: float
    p95_ms: float
    p99_ms: float
    runs: int
    mean_ms: float
    p50_low_ms: float
    p50_high_ms: float
    p99_low_ms: float
    p99_high_ms: float
    footprint_bytes: int

    @property
    def timing(self) -> Timing:
        """The same as a value of statistics."""
        return Timing(
            p50_ms=self.p50_ms,
            p95_ms=self.p95_ms,
            p99_ms=self.p99_ms,
            runs=self.runs,
            mean_ms=self.mean_ms,
            p50_interval=Interval(self.p50_low_ms, self.p50_high_ms),
            p99_interval=Interval(self.p99_low_ms, self.p99_high_ms),
        )


@dataclass(frozen=True, slots=True)
class TimeRuns:
    """Parent to worker: time single inferences for one turn; the parent keeps the statistics.

    Attributes:
        warmup: Runs that are not counted, first.
        runs: Runs that are counted, at most `MAX_TIMED_RUNS`.
        max_seconds: The longest time for each of the two; each makes at least one run.
    """

    warmup: int
    runs: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class TimedRuns:
    """Worker to parent: the time of each counted run of the turn, and the most memory that the process has held."""

    times_ms: list[float]
    footprint_bytes: int


@dataclass(frozen=True, slots=True)
class EndProfile:
    """Parent to worker: write the profile of all inferences since the start; later ones are not recorded."""


@dataclass(frozen=True, slots=True)
class Profiled:
    """Worker to parent: the file name of the profile in `WorkerSpec.profile_folder`."""

    name: str


_Rare = (
    Ready
    | Failed
    | MemorySpent
    | CheckGolden
    | GoldenPassed
    | Benchmark
    | Measured
    | TimeRuns
    | TimedRuns
    | EndProfile
    | Profiled
)
Message = Infer | Replied | _Rare
_RARE: Mapping[str, type[_Rare]] = {kind.__name__: kind for kind in get_args(_Rare)}

# Kind, slot, whether the payload follows, lengths of payload, header and text; -1 and NaN stand for None.
_INFER = Struct("<cB?qqid")
# The same, and the times.
_REPLIED = Struct("<cB?qqiidddd")
_INFER_KIND, _REPLIED_KIND = b"I", b"R"
_NOTHING = -1
# Media types are short; a client may send 64 KiB of text in their place.
_LONGEST_TYPE = 256


def encode_message(message: Message) -> bytes:
    """Return a message as one packet; a long error text is shortened so that it fits."""
    if isinstance(message, Infer):
        return _pack_infer(message)
    if isinstance(message, Replied):
        return _pack_replied(message)
    if isinstance(message, Failed) and len(message.message) > MAX_PACKET_BYTES // 8:
        message = Failed(code=message.code, message=message.message[: MAX_PACKET_BYTES // 8] + "…")
    values = {field.name: getattr(message, field.name) for field in fields(message)}
    return json.dumps({"kind": type(message).__name__, **values}).encode()


def decode_message(packet: bytes) -> Message:
    """Return the message in a packet.

    Raises:
        WorkerError: The packet is malformed.
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
