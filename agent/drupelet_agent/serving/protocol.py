"""What parent and worker say to each other: small JSON packets on a socket, payloads in shared memory slots.

The socket keeps packet boundaries (SOCK_SEQPACKET). The shared memory is one anonymous file, divided into `SLOTS`
slots of equal size; a request is written into a slot and its reply comes back in the same slot, so that the next
request can be put in place while the worker computes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from drupelet_agent.errors import WorkerError

SLOTS = 2
MAX_PACKET_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How a worker is started: what it loads, how, and with what it talks; `memory_limit_bytes` 0 is no limit."""

    package_folder: str
    variant: str
    threads: int
    memory_limit_bytes: int
    slot_bytes: int
    socket_fd: int = -1
    memory_fd: int = -1


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker to parent: the model is loaded; `sandbox_gaps` names the protections that the kernel refused."""

    kind: ClassVar[str] = "ready"
    engine_version: str
    load_ms: float
    sandbox_gaps: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker to parent: what was asked cannot be done; after a failure to load the worker ends."""

    kind: ClassVar[str] = "failed"
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Infer:
    """Parent to worker: answer the request in a slot, unless the monotonic clock has passed `deadline_s`."""

    kind: ClassVar[str] = "infer"
    slot: int
    length: int
    content_type: str | None
    header_length: int | None
    deadline_s: float | None


@dataclass(frozen=True, slots=True)
class Replied:
    """Worker to parent: the reply lies in the slot; `code` is "ok" or an error's code."""

    kind: ClassVar[str] = "replied"
    slot: int
    length: int
    content_type: str
    header_length: int | None
    code: str
    started_s: float
    decode_ms: float
    inference_ms: float
    encode_ms: float


@dataclass(frozen=True, slots=True)
class CheckGolden:
    """Parent to worker: compare with the variant's golden vectors."""

    kind: ClassVar[str] = "check_golden"


@dataclass(frozen=True, slots=True)
class GoldenPassed:
    """Worker to parent: the largest difference found, as a fraction of the outputs' magnitude."""

    kind: ClassVar[str] = "golden_passed"
    difference: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Parent to worker: time single inferences."""

    kind: ClassVar[str] = "benchmark"
    warmup: int
    runs: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Worker to parent: percentiles and mean, and the most memory the process has ever held."""

    kind: ClassVar[str] = "measured"
    p50_ms: float
    p95_ms: float
    p99_ms: float
    runs: int
    mean_ms: float
    footprint_bytes: int


Message = Ready | Failed | Infer | Replied | CheckGolden | GoldenPassed | Benchmark | Measured
_KINDS: Mapping[str, type[Message]] = {
    kind.kind: kind for kind in (Ready, Failed, Infer, Replied, CheckGolden, GoldenPassed, Benchmark, Measured)
}


def encode_message(message: Message) -> bytes:
    """One packet; long error texts are cut so that it fits."""
    if isinstance(message, Failed) and len(message.message) > MAX_PACKET_BYTES // 8:
        message = Failed(code=message.code, message=message.message[: MAX_PACKET_BYTES // 8] + "…")
    values = {field.name: getattr(message, field.name) for field in fields(message)}
    return json.dumps({"kind": message.kind, **values}).encode()


def decode_message(packet: bytes) -> Message:
    """The message in a packet.

    Raises:
        WorkerError: It is not one of ours.
    """
    try:
        values = json.loads(packet)
        return _KINDS[values.pop("kind")](**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkerError(f"malformed packet of {len(packet)} bytes between agent and worker: {error}") from error
