"""Requests and replies as values; tensors are NumPy arrays, those of datatype BYTES object arrays of `bytes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from drupelet_shared.engines.base import Array

Parameter = str | int | float | bool
Parameters = Mapping[str, Parameter]


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that the client requests, and whether its data is sent as raw bytes."""

    name: str
    binary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """An inference request of the Open Inference Protocol v2.

    Attributes:
        inputs: The tensors by name, in the order sent.
        id: The identifier that the reply repeats.
        outputs: The requested outputs; None for all.
        binary_output: Whether outputs that `outputs` does not name are sent as raw bytes.
        parameters: Other parameters of the client; they are not interpreted.
    """

    inputs: dict[str, Array]
    id: str | None = None
    outputs: tuple[RequestedOutput, ...] | None = None
    binary_output: bool = False
    parameters: Parameters = field(default_factory=dict)

    def wants_binary(self, output: str) -> bool:
        """Return whether the client asked for this output's data as raw bytes."""
        for requested in self.outputs or ():
            if requested.name == output:
                return requested.binary
        return self.binary_output


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceReply:
    """An inference response of the Open Inference Protocol v2.

    Attributes:
        model_name: The model that answered.
        outputs: The tensors by name.
        model_version: Its version.
        id: The identifier of the request.
        parameters: Further parameters of the reply.
    """

    model_name: str
    outputs: dict[str, Array]
    model_version: str | None = None
    id: str | None = None
    parameters: Parameters = field(default_factory=dict)

    def __repr__(self) -> str:
        outputs = ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in self.outputs.items())
        return f"InferenceReply({self.model_name} {self.model_version or 'without version'}: {outputs})"


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded body.

    Attributes:
        payload: The body.
        content_type: Its media type.
        header_length: Bytes of JSON before the raw tensors; None where the body is only JSON or only an image.
    """

    payload: bytes
    content_type: str
    header_length: int | None
