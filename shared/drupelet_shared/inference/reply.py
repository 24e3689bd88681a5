"""Encodes and decodes inference replies."""

from __future__ import annotations

from typing import Any

from drupelet_shared.errors import InferenceFailedError, InputDataError, RequestError
from drupelet_shared.inference.body import decode_tensors, encode_tensor, join_body, split_body
from drupelet_shared.inference.header import parse_parameters, show
from drupelet_shared.inference.request import parse_id
from drupelet_shared.inference.values import Encoded, InferenceReply, InferenceRequest


def encode_reply(reply: InferenceReply, request: InferenceRequest) -> Encoded:
    """Encode a reply as its request asks: each output as raw bytes or as JSON.

    Raises:
        InferenceFailedError: An output that was asked for as JSON holds NaN, infinity or bytes that are not UTF-8.
    """
    try:
        tensors = [
            encode_tensor(array, name=name, kind="output", binary=request.wants_binary(name))
            for name, array in reply.outputs.items()
        ]
    except InputDataError as error:
        # The codec's complaint is about a value; here that value is the model's answer and not the client's data.
        raise InferenceFailedError(str(error)) from error
    document: dict[str, Any] = {"model_name": reply.model_name}
    if reply.model_version is not None:
        document["model_version"] = reply.model_version
    if reply.id is not None:
        document["id"] = reply.id
    if reply.parameters:
        document["parameters"] = dict(reply.parameters)
    document["outputs"] = [entry for entry, _ in tensors]
    return join_body(document, [data for _, data in tensors if data is not None])


def decode_reply(payload: memoryview, *, content_type: str, header_length: int | None) -> InferenceReply:
    """Decode a reply. Raw tensors become views of `payload`, which must outlive them.

    Args:
        payload: The body.
        content_type: `application/json` or `application/octet-stream`, with or without parameters.
        header_length: Bytes of JSON at the start; None if all of it is JSON.

    Returns:
        The reply.

    Raises:
        RequestError: The reply is malformed; the subclass states which part.
    """
    document, tail = split_body(payload, content_type=content_type, header_length=header_length)
    return InferenceReply(
        model_name=_text(document, "model_name") or "",
        outputs=decode_tensors(document.get("outputs"), tail, kind="output"),
        model_version=_text(document, "model_version"),
        id=parse_id(document),
        parameters=parse_parameters(document.get("parameters"), what="reply"),
    )


def _text(document: dict[str, Any], key: str) -> str | None:
    value = document.get(key)
    if value is None or isinstance(value, str):
        return value
    raise RequestError(f"{key} {show(value)}: expected text")
