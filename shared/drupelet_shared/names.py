"""The form of identifiers that become topic levels and file names: models, devices, versions, variants."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import StringConstraints

from drupelet_shared.errors import InvalidValueError

# One MQTT topic level that is also a safe file name: no '/', '+', '#', '$', no leading dot, at most 64 characters.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
# The same in words, for messages.
NAME_FORM = "1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
SHA256_PATTERN = r"^[0-9a-f]{64}$"
Sha256 = Annotated[str, StringConstraints(pattern=SHA256_PATTERN)]

_NAME = re.compile(NAME_PATTERN)
_SHA256 = re.compile(SHA256_PATTERN)


def is_name(value: str) -> bool:
    """Return whether a text is a well-formed identifier."""
    return _NAME.fullmatch(value) is not None


def is_sha256(value: str) -> bool:
    """Return whether a text is a SHA-256 as 64 lower-case hexadecimal digits."""
    return _SHA256.fullmatch(value) is not None


def check_name(value: str, *, what: str) -> str:
    """Return `value` if it is a well-formed identifier.

    Args:
        value: The identifier to check.
        what: What it identifies, for the message: "model", "device", ...

    Returns:
        The value, unchanged.

    Raises:
        InvalidValueError: The value does not have the form of an identifier.
    """
    if not is_name(value):
        raise InvalidValueError(f"{what} name {value!r}: expected {NAME_FORM}")
    return value
