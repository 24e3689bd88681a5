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
        """Where a source of others' can be read."""
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
    """The tables, with what the cells say more in lists below them, as Markdown."""
    legend = (
        "Each mark of others' is a link to the document or code that it rests on; ours rest on the tests and documents "
        'listed at the end. "Unstated": that source says nothing of it, which is no proof that it is missing.'
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
    return "\n\n".join([*parts, f"### What our own marks rest on\n\n{own}"])


def _render(cell: Cell, features: Features, files: dict[str, int]) -> str:
    if cell.own_path is None:
        return f"[{MARKS[cell.mark]}]({features.url(cell.source)})"
    path = cell.own_path.relative_to(ROOT).as_posix()
    return f"{MARKS[cell.mark]} <sup>{files.setdefault(path, len(files) + 1)}</sup>"


def _render_behind(table: FeatureTable) -> str:
    """What others have and the product has not, said first."""
    behind = [
        feature
        for feature, cells in table.rows.items()
        if cells[PRODUCT].mark == "no" and any(cell.mark == "yes" for cell in cells.values())
    ]
    return f"Others do, and {PRODUCT} does not: {'; '.join(behind)}."


def _render_notes(table: FeatureTable) -> str:
    lines = []
    for feature, cells in table.rows.items():
        notes = [f"{column}: {cell.note}" for column, cell in cells.items() if cell.note]
        if notes:
            lines.append(f"- *{feature}.* {'; '.join(notes)}.")
    return "\n".join(lines)
