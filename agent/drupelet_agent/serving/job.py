"""A request on its way through the agent, and what became of it.

Named tuples, which are made several times faster than frozen dataclasses: there are three for each request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from drupelet_shared.contract.wire import JSON_TYPE, encode_error
from drupelet_shared.errors import ExpiredError, RequestError


class StageTimes(NamedTuple):
    """How long one request spent in each stage, in milliseconds."""

    queue_ms: float
    decode_ms: float
    inference_ms: float
    encode_ms: float
    total_ms: float


class Outcome(NamedTuple):
    """The end of a job: a reply to hand over, or None when the request expired and nobody waits for one."""

    code: str
    payload: bytes | None
    content_type: str = JSON_TYPE
    header_length: int | None = None
    times: StageTimes | None = None


class Job(NamedTuple):
    """One accepted request; `finish` is called exactly once.

    Attributes:
        payload: The message's bytes.
        content_type: As the message gives it; None leaves it to the worker to recognise.
        header_length: Length of the JSON part of a binary request.
        received_s: When it arrived, on the monotonic clock.
        deadline_s: When it expires, on the monotonic clock; None is never.
        finish: Takes the outcome to whoever asked.
    """

    payload: bytes
    content_type: str | None
    header_length: int | None
    received_s: float
    deadline_s: float | None
    finish: Callable[[Outcome], None]


EXPIRED = Outcome(code=ExpiredError.code, payload=None)


def refusal(error: RequestError) -> Outcome:
    """The outcome of a request that gets this error as its answer."""
    return Outcome(code=error.code, payload=encode_error(error, request_id=error.request_id))
