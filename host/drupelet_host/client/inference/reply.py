"""A reply message becomes tensors, or the error it carries."""

from __future__ import annotations

from paho.mqtt.client import MQTTMessage
from pydantic import ValidationError

from drupelet_host.errors import RemoteError
from drupelet_shared.contract.messages import ErrorReply
from drupelet_shared.contract.wire import CODE_PROPERTY, HEADER_LENGTH_PROPERTY, JSON_TYPE, OK_CODE
from drupelet_shared.errors import RequestError
from drupelet_shared.inference import InferenceReply, decode_reply


def read_reply(message: MQTTMessage, *, device: str) -> InferenceReply:
    """The tensors of a reply.

    Args:
        message: What arrived on the response topic.
        device: Who answered, for messages.

    Raises:
        RemoteError: The device refused the request, with its own words and code, or the reply is malformed.
    """
    user = dict(getattr(message.properties, "UserProperty", ()))
    if user.get(CODE_PROPERTY, OK_CODE) != OK_CODE:
        raise _remote_error(bytes(message.payload), device=device, code=user[CODE_PROPERTY])
    try:
        return decode_reply(
            memoryview(message.payload),
            content_type=getattr(message.properties, "ContentType", JSON_TYPE),
            header_length=_header_length(user),
        )
    except RequestError as error:
        raise RemoteError(f"device {device!r}: malformed reply: {error}") from error


def _remote_error(payload: bytes, *, device: str, code: str) -> RemoteError:
    try:
        text = ErrorReply.model_validate_json(payload).error
    except ValidationError:
        text = f"no text in {len(payload)} bytes"
    return RemoteError(f"device {device!r} answered {code}: {text}", device_code=code)


def _header_length(user: dict[str, str]) -> int | None:
    value = user.get(HEADER_LENGTH_PROPERTY)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError as error:
        raise RequestError(f"{HEADER_LENGTH_PROPERTY} is {value[:40]!r}: expected a number of bytes") from error
