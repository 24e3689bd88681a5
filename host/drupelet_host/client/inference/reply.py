"""Decoding of a reply message into tensors, or into the error that it carries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from drupelet_host.client.connection.error_reply import read_error
from drupelet_host.client.connection.transport import ReceivedMessage
from drupelet_host.errors import RemoteError
from drupelet_shared.contract.wire import CODE_PROPERTY, HEADER_LENGTH_PROPERTY, JSON_TYPE, OK_CODE
from drupelet_shared.engines.base import Array
from drupelet_shared.errors import RequestError
from drupelet_shared.inference import InferenceReply, decode_reply

_LABELS = "labels"


def read_reply(message: ReceivedMessage, *, target: str) -> InferenceReply:
    """Decode a reply.

    Args:
        message: A message on the response topic.
        target: The device or pool for error messages, such as `device 'pi-7'`.

    Returns:
        The reply with its tensors; the output `labels` holds text where the protocol has bytes.

    Raises:
        RemoteError: The reply carries an error, whose text and code the exception repeats, or it is malformed.
    """
    user = dict(message.user_properties)
    if user.get(CODE_PROPERTY, OK_CODE) != OK_CODE:
        raise read_error(message.payload, target=target, code=user[CODE_PROPERTY])
    try:
        reply = decode_reply(
            memoryview(message.payload),
            content_type=message.content_type or JSON_TYPE,
            header_length=_header_length(user),
        )
    except RequestError as error:
        raise RemoteError(f"{target}: malformed reply: {error}") from error
    labels = reply.outputs.get(_LABELS)
    if labels is None or labels.dtype != object:
        return reply
    return replace(reply, outputs={**reply.outputs, _LABELS: _as_text(labels)})


def _as_text(labels: Array) -> Array:
    """Return labels as `str`; unchanged where one is not UTF-8, which only a model's own output of that name can be."""
    texts = np.empty(labels.shape, dtype=object)
    try:
        texts.ravel()[:] = [label.decode() for label in labels.ravel().tolist()]
    except UnicodeDecodeError:
        return labels
    return texts


def _header_length(user: dict[str, str]) -> int | None:
    value = user.get(HEADER_LENGTH_PROPERTY)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError as error:
        raise RequestError(f"{HEADER_LENGTH_PROPERTY} is {value[:40]!r}: expected a number of bytes") from error
