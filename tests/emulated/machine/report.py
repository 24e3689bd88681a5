"""What the checks saw: lines while they run, a JSON file that a later run goes on from, and a table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from drupelet_shared.files import write_atomically


@dataclass(frozen=True, slots=True)
class Row:
    """One check.

    Attributes:
        name: Of the check.
        ok: Whether all was as it must be.
        seen: What was seen, or what was wrong.
        seconds: What it took on this host; nothing about a Raspberry Pi.
    """

    name: str
    ok: bool
    seen: str
    seconds: float

    @property
    def title(self) -> str:
        """The name as words."""
        return self.name.replace("_", " ")

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'FAIL'}  {self.title} ({self.seconds:.0f} s): {self.seen}"


class Report:
    """Rows by the name of the check, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: dict[str, Row] = {}

    def load(self) -> None:
        """Take over the rows of an earlier run."""
        if self._path.is_file():
            for row in json.loads(self._path.read_text(encoding="utf-8"))["checks"]:
                self.rows[row["name"]] = Row(**row)

    def add(self, row: Row) -> None:
        """Keep a row, and say it."""
        self.rows[row.name] = row
        document = {"ok": self.ok, "checks": [asdict(row) for row in self.rows.values()]}
        write_atomically(self._path, json.dumps(document, indent=2, ensure_ascii=False).encode())
        print(row, flush=True)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(row.ok for row in self.rows.values())

    def table(self) -> str:
        """The rows as Markdown."""
        lines = ["| check | seen | took here |", "|---|---|---:|"]
        for row in self.rows.values():
            seen = row.seen if row.ok else f"**failed**: {row.seen}"
            lines.append(f"| {row.title} | {seen.replace('|', '/')} | {row.seconds:.0f} s |")
        return "\n".join(lines)
