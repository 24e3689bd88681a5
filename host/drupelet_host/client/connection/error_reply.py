"""The exception for an error that a device answered with."""

from __future__ import annotations

from pydantic import ValidationError

from drupelet_host.errors import RemoteError
from drupelet_shared.contract.messages import ErrorReply


def read_error(payload: bytes, *, target: str, code: str) -> RemoteError:
    """Return the exception for an error reply.

    Args:
        payload: The error reply as JSON.
        target: The device or pool for the message, such as `device 'pi-7'`.
        code: The error's stable code.

    Returns:
        The exception, with the device's own text and code.
    """
    try:
        text = ErrorReply.model_validate_json(payload).error
    except ValidationError:
        text = f"no text in {len(payload)} bytes"
    return RemoteError(f"{target} answered {code}: {text}", device_code=code)
