"""Requests and replies as values; tensors are NumPy arrays, those of datatype BYTES object arrays of `bytes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from drupelet_shared.engines.base import Array

Parameter = str | int | float | bool
Parameters = Mapping[str, Parameter]


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output the client wants, and whether its data comes as raw bytes."""

    name: str
    binary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """What the Open Inference Protocol v2 calls an inference request.

    Attributes:
        inputs: The tensors by name, in the order sent.
        id: Echoed in the reply.
        outputs: The outputs wanted; None for all of them.
        binary_output: Whether outputs that `outputs` does not name come as raw bytes.
        parameters: What else the client said; nothing here depends on it.
    """

    inputs: dict[str, Array]
    id: str | None = None
    outputs: tuple[RequestedOutput, ...] | None = None
    binary_output: bool = False
    parameters: Parameters = field(default_factory=dict)

    def wants_binary(self, output: str) -> bool:
        """Whether the client asked for this output's data as raw bytes."""
        for requested in self.outputs or ():
            if requested.name == output:
                return requested.binary
        return self.binary_output


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceReply:
    """What the Open Inference Protocol v2 calls an inference response."""

    model_name: str
    outputs: dict[str, Array]
    model_version: str | None = None
    id: str | None = None
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Bytes for the wire.

    Attributes:
        payload: The body.
        content_type: Its media type.
        header_length: Bytes of JSON before the raw tensors; None where the body is all of one kind.
    """

    payload: bytes
    content_type: str
    header_length: int | None
