"""The configuration of what models and requests may use."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from drupelet_agent.config.section import Section
from drupelet_shared.units import ByteSize

# The default memory for messages: this many times the largest payload, and at most this part of all memory.
_MESSAGES_PAYLOADS = 8
_MESSAGES_PART = 8


class LimitsConfig(Section):
    """The budgets of the agent, and the limits of a request.

    Attributes:
        memory: The memory of all workers; the smallest of this, the share, the limit of the cgroup and the free memory
            applies.
        memory_share: The same as a share of the memory of the machine.
        cpu_cores: The number of cores; by default all that the process may use.
        queue_length: The number of requests that may wait for one model; more are answered with `overloaded`.
        max_payload: The largest payload of a request or a reply.
        messages: The part of `memory` for requests and replies in progress; requests beyond it are answered with
            `overloaded`. Eight times `max_payload` by default, and at most an eighth of `memory`.
        inference_timeout_s: The time after which a worker that does not answer is ended.
        evict: Whether models that do not fit into memory together are loaded in turn: `least-recently-used` unloads the
            model whose latest request is oldest.
        keep_s: The time after its start or its latest request in which a model is not unloaded.
        versions: The number of releases of a model that are served; 2 also serves the release before the active one.
    """

    memory: ByteSize | None = None
    memory_share: Annotated[float, Field(gt=0, le=1)] = 0.75
    cpu_cores: Annotated[int, Field(ge=1)] | None = None
    queue_length: Annotated[int, Field(ge=1, le=10_000)] = 64
    max_payload: ByteSize = 16 * 2**20
    messages: ByteSize | None = None
    inference_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    evict: Literal["never", "least-recently-used"] = "never"
    keep_s: Annotated[float, Field(ge=0)] = 10.0
    versions: Annotated[int, Field(ge=1, le=2)] = 1

    @model_validator(mode="after")
    def _check_messages(self) -> Self:
        if self.messages is not None and self.memory is not None and self.messages >= self.memory:
            raise ValueError("messages is a part of memory: it must be smaller")
        return self

    @property
    def messages_bytes(self) -> int:
        """The memory for requests and replies in progress."""
        if self.messages is not None:
            return self.messages
        default = _MESSAGES_PAYLOADS * self.max_payload
        return default if self.memory is None else min(default, self.memory // _MESSAGES_PART)

    @property
    def models_bytes(self) -> int | None:
        """The part of `memory` that is left for models; None without a limit."""
        return None if self.memory is None else self.memory - self.messages_bytes
