"""A request on its way through the agent, and its outcome.

Named tuples are created several times faster than frozen dataclasses, and each request needs three of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from drupelet_shared.contract.wire import JSON_TYPE, encode_error
from drupelet_shared.errors import ExpiredError, RequestError


class StageTimes(NamedTuple):
    """The time of one request in each stage, in milliseconds.

    Attributes:
        queue_ms: Waiting for a worker.
        decode_ms: Decoding the request.
        inference_ms: In the engine.
        encode_ms: Encoding the reply.
        total_ms: From arrival to reply.
    """

    queue_ms: float
    decode_ms: float
    inference_ms: float
    encode_ms: float
    total_ms: float


class Outcome(NamedTuple):
    """The end of a job.

    Attributes:
        code: "ok" or an error's code.
        payload: The reply; None if the request expired: no client waits for it.
        content_type: The reply's media type.
        header_length: Length of the JSON part of a binary reply.
        times: The time of each stage; None unless the model answered.
    """

    code: str
    payload: bytes | None
    content_type: str = JSON_TYPE
    header_length: int | None = None
    times: StageTimes | None = None


class Job(NamedTuple):
    """One accepted request; `finish` is called exactly once.

    Attributes:
        payload: The message's bytes.
        content_type: The media type that the message gives; None lets the worker recognise it.
        header_length: Length of the JSON part of a binary request.
        received_s: When it arrived, on the monotonic clock.
        deadline_s: When it expires, on the monotonic clock; None is never.
        finish: Takes the outcome.
    """

    payload: bytes
    content_type: str | None
    header_length: int | None
    received_s: float
    deadline_s: float | None
    finish: Callable[[Outcome], None]


EXPIRED = Outcome(code=ExpiredError.code, payload=None)


def refusal(error: RequestError) -> Outcome:
    """Return the outcome of a request that is answered with an error."""
    return Outcome(code=error.code, payload=encode_error(error, request_id=error.request_id))
