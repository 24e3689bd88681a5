"""Labels of devices: names and values that an operator gives devices, and the choice of devices by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from drupelet_shared.errors import InvalidValueError
from drupelet_shared.names import Name, is_name

# They are part of each birth message and each will.
MAX_LABELS = 16
Labels = Annotated[dict[Name, Name], Field(max_length=MAX_LABELS)]


@dataclass(frozen=True, slots=True)
class Label:
    """One label; `str` and `parse_label` are inverse to each other.

    Attributes:
        name: The label's name, such as "site".
        value: Its value, such as "berlin".
    """

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


def parse_label(text: str) -> Label:
    """Read a label in the form "site=berlin".

    Raises:
        InvalidValueError: The text has another form.
    """
    name, separator, value = text.partition("=")
    if not separator or not is_name(name) or not is_name(value):
        raise InvalidValueError(
            f"label {text!r}: expected NAME=VALUE, each of 1 to 64 letters, digits, '.', '_' or '-', starting with a "
            "letter or digit"
        )
    return Label(name, value)


def has_labels(labels: Mapping[str, str] | None, required: Iterable[Label]) -> bool:
    """Tell whether a device's labels include all of `required`; a device without labels meets no requirement."""
    held = labels or {}
    return all(held.get(label.name) == label.value for label in required)
