"""The value that says that channels cannot be removed, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unprunable:
    """Channels that must stay.

    Attributes:
        reason: Why, for the report.
    """

    reason: str


IN_THE_OUTPUT = Unprunable("its channels are the model's output")
