"""A finding of the doctor."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Status = Literal["ok", "note", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of examining one thing.

    Attributes:
        what: The thing.
        status: `note` could be better, `warn` will hurt, `fail` keeps the agent from doing its work.
        found: Its state.
        repair: How to repair it; empty if no repair is needed.
    """

    what: str
    status: Status
    found: str
    repair: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether a repair is needed."""
        return self.status in {"warn", "fail"}

    def __str__(self) -> str:
        line = f"{self.status:<4}  {self.what}: {self.found}"
        return f"{line}\n      -> {self.repair}" if self.repair else line

    def as_json(self) -> dict[str, str]:
        """Return the finding as JSON values."""
        return asdict(self)
