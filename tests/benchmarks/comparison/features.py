"""The table of features: read, checked, and rendered with a source for each cell."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_FILE = Path(__file__).with_name("features.toml")
_OWN = "here"
PRODUCT = "drupelet"
MARKS = {
    "yes": "**yes**",
    "partly": "partly",
    "no": "no",
    "not found": "-",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """What one tool does about one feature.

    Attributes:
        mark: A key of `MARKS`.
        source: "base:path"; the base is one of the file's, or "here".
        note: A few words more, or none.
    """

    mark: str
    source: str
    note: str

    @property
    def own_path(self) -> Path | None:
        """The file of this repository that the cell rests on; None where it rests on others' documents."""
        base, _, path = self.source.partition(":")
        return ROOT / path if base == _OWN else None


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """A table: `rows` has a cell of every column for every feature."""

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Cell]]


@dataclass(frozen=True, slots=True)
class Features:
    """The tables, and what the sources' short names stand for."""

    bases: Mapping[str, str]
    tables: tuple[FeatureTable, ...]

    def link(self, source: str) -> str:
        """A source as Markdown: a link, or the path of a file here."""
        base, _, path = source.partition(":")
        return f"`{path}`" if base == _OWN else f"<{self.bases[base]}{path}>"


def read_features(path: Path = _FILE) -> Features:
    """Read the file.

    Raises:
        ValueError: A cell is missing, or has an unknown mark, no source, or a source whose base is unknown; all faults.
    """
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    bases: Mapping[str, str] = document["bases"]
    tables = []
    faults: list[str] = []
    for table in document["table"]:
        columns, rows = tuple(table["columns"]), {}
        for row in table["row"]:
            feature = row["feature"]
            cells = {column: Cell(*row.get(column, ("", "", ""))) for column in columns}
            faults += [fault for column, cell in cells.items() for fault in _faults(feature, column, cell, bases)]
            faults += [f"{feature}: {name}: no such column" for name in row.keys() - {"feature", *columns}]
            rows[feature] = cells
        tables.append(FeatureTable(table["title"], columns, rows))
    if faults:
        raise ValueError(f"{path.name}: {'; '.join(faults)}")
    return Features(bases, tuple(tables))


def _faults(feature: str, column: str, cell: Cell, bases: Mapping[str, str]) -> Iterator[str]:
    base, _, path = cell.source.partition(":")
    if cell.mark not in MARKS:
        yield f"{feature}: {column}: mark {cell.mark!r}, expected one of {', '.join(MARKS)}"
    if not path or base not in {_OWN, *bases}:
        yield f"{feature}: {column}: source {cell.source!r}, expected base:path with a base of [bases] or {_OWN!r}"


def render_features(features: Features) -> str:
    """Both tables and their numbered sources as Markdown."""
    numbers: dict[str, int] = {}
    legend = (
        "A dash means that the source named says nothing of it, which is no proof that it is missing. The small "
        "numbers are the sources, listed at the end: others' documents and code, and tests and documents here."
    )
    parts = [legend]
    for table in features.tables:
        lines = [f"| | {' | '.join(table.columns)} |", f"|---|{'---|' * len(table.columns)}"]
        for feature, cells in table.rows.items():
            lines.append(f"| {feature} | {' | '.join(_render(cells[column], numbers) for column in table.columns)} |")
        parts.append(f"### {table.title}\n\n" + "\n".join(lines))
    sources = "\n".join(f"{number}. {features.link(source)}" for source, number in numbers.items())
    return "\n\n".join([*parts, f"### Sources\n\n{sources}"])


def _render(cell: Cell, numbers: dict[str, int]) -> str:
    number = numbers.setdefault(cell.source, len(numbers) + 1)
    note = f": {cell.note}" if cell.note else ""
    return f"{MARKS[cell.mark]}{note} <sup>{number}</sup>"
