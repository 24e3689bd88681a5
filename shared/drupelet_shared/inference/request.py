"""Encodes and decodes inference requests."""

from __future__ import annotations

from typing import Any

from drupelet_shared.contract.wire import MAX_ID_LENGTH
from drupelet_shared.errors import InputDataError, InputNameError, RequestError
from drupelet_shared.inference.body import MAX_VALUES, decode_tensors, encode_tensor, join_body, split_body
from drupelet_shared.inference.header import parse_name, parse_parameters, show
from drupelet_shared.inference.values import Encoded, InferenceRequest, RequestedOutput

_BINARY_OUTPUT = "binary_data_output"


def decode_request(
    payload: memoryview, *, content_type: str, header_length: int | None, max_values: int = MAX_VALUES
) -> InferenceRequest:
    """Decode a request. Raw tensors become views of `payload`, which must outlive them.

    Args:
        payload: The body.
        content_type: `application/json` or `application/octet-stream`, with or without parameters.
        header_length: Bytes of JSON at the start; None if all of it is JSON.
        max_values: Limit of tensor values in the JSON; a body far above it is refused before it is parsed.

    Returns:
        The request.

    Raises:
        RequestError: The request is malformed; the error carries the request's id if it was read before.
    """
    document, tail = split_body(payload, content_type=content_type, header_length=header_length, max_values=max_values)
    request_id = parse_id(document)
    try:
        parameters = parse_parameters(document.get("parameters"), what="request")
        binary_output = _flag(parameters, _BINARY_OUTPUT, what="request") or False
        return InferenceRequest(
            inputs=decode_tensors(document.get("inputs"), tail, kind="input"),
            id=request_id,
            outputs=_requested_outputs(document.get("outputs"), binary_output=binary_output),
            binary_output=binary_output,
            parameters={name: value for name, value in parameters.items() if name != _BINARY_OUTPUT},
        )
    except RequestError as error:
        error.request_id = request_id
        raise


def encode_request(request: InferenceRequest, *, binary: bool) -> Encoded:
    """Encode a request.

    Args:
        request: The request.
        binary: Whether the inputs are raw bytes; otherwise they are JSON.

    Returns:
        The body with its content type.

    Raises:
        InputDatatypeError: The protocol has no datatype for an input.
        InputDataError: JSON cannot hold an input's values.
    """
    tensors = [encode_tensor(array, name=name, kind="input", binary=binary) for name, array in request.inputs.items()]
    document: dict[str, Any] = {} if request.id is None else {"id": request.id}
    parameters = {**request.parameters, **({_BINARY_OUTPUT: True} if request.binary_output else {})}
    if parameters:
        document["parameters"] = parameters
    document["inputs"] = [entry for entry, _ in tensors]
    if request.outputs is not None:
        document["outputs"] = [
            {"name": output.name, "parameters": {"binary_data": output.binary}} for output in request.outputs
        ]
    return join_body(document, [data for _, data in tensors if data is not None])


def parse_id(document: dict[str, Any]) -> str | None:
    """Return the id of a request or reply.

    Raises:
        RequestError: The id is not text, or is too long.
    """
    value = document.get("id")
    if value is None or (isinstance(value, str) and len(value) <= MAX_ID_LENGTH):
        return value
    raise RequestError(f"id {show(value)}: expected text of at most {MAX_ID_LENGTH} characters")


def _requested_outputs(entries: object, *, binary_output: bool) -> tuple[RequestedOutput, ...] | None:
    # Triton treats an empty array as absent: all outputs.
    if entries is None or entries == []:
        return None
    if not isinstance(entries, list):
        raise RequestError(f"outputs: {show(entries)}: expected an array")
    outputs: dict[str, RequestedOutput] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            raise RequestError(f"output {show(entry)}: expected an object with a name")
        output = _requested_output(entry, binary_output=binary_output)
        if output.name in outputs:
            raise InputNameError(f"output {output.name!r} is requested twice")
        outputs[output.name] = output
    return tuple(outputs.values())


def _requested_output(entry: dict[str, Any], *, binary_output: bool) -> RequestedOutput:
    name = parse_name(entry, kind="output")
    what = f"output {name!r}"
    parameters = parse_parameters(entry.get("parameters"), what=what)
    for unsupported in ("classification", "shared_memory_region"):
        if parameters.get(unsupported):
            raise InputDataError(f"{what}: parameter {unsupported} is not supported")
    binary = _flag(parameters, "binary_data", what=what)
    return RequestedOutput(name=name, binary=binary_output if binary is None else binary)


def _flag(parameters: dict[str, Any], name: str, *, what: str) -> bool | None:
    value = parameters.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise RequestError(f"{what}: parameter {name} is {show(value)}: expected true or false")
