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
    "not found": "unstated",
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

    def url(self, source: str) -> str:
        """Return the address of another tool's source."""
        base, _, path = source.partition(":")
        return f"{self.bases[base]}{path}"


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
    """Return the tables as Markdown, with the notes of their cells as lists below them."""
    legend = (
        "The mark of each other tool links to its source, a document or code. The marks of drupelet rest on the tests "
        'and documents listed at the end. "Unstated": the source does not mention it, which does not prove that it is '
        "missing."
    )
    files: dict[str, int] = {}
    parts = [legend]
    for table in features.tables:
        lines = [f"| | {' | '.join(table.columns)} |", f"|---|{'---|' * len(table.columns)}"]
        for feature, cells in table.rows.items():
            marks = (_render(cells[column], features, files) for column in table.columns)
            lines.append(f"| {feature} | {' | '.join(marks)} |")
        parts += [f"### {table.title}", _render_behind(table), "\n".join(lines), _render_notes(table)]
    own = "\n".join(f"{number}. `{path}`" for path, number in files.items())
    return "\n\n".join([*parts, f"### Sources of the marks of drupelet\n\n{own}"])


def _render(cell: Cell, features: Features, files: dict[str, int]) -> str:
    if cell.own_path is None:
        return f"[{MARKS[cell.mark]}]({features.url(cell.source)})"
    path = cell.own_path.relative_to(ROOT).as_posix()
    return f"{MARKS[cell.mark]} <sup>{files.setdefault(path, len(files) + 1)}</sup>"


def _render_behind(table: FeatureTable) -> str:
    """List the features that others have and the product lacks."""
    behind = [
        feature
        for feature, cells in table.rows.items()
        if cells[PRODUCT].mark == "no" and any(cell.mark == "yes" for cell in cells.values())
    ]
    return f"Other tools have, and {PRODUCT} lacks: {'; '.join(behind)}."


def _render_notes(table: FeatureTable) -> str:
    lines = []
    for feature, cells in table.rows.items():
        notes = [f"{column}: {cell.note}" for column, cell in cells.items() if cell.note]
        if notes:
            lines.append(f"- *{feature}.* {'; '.join(notes)}.")
    return "\n".join(lines)
