"""A row of the table as it is kept on disk: which file it is about, and what it took to make it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.compiler.setting import Setting
from drupelet_shared.files import write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a row made.

    Attributes:
        models: The file by engine.
        selection_metric: Top-1 on the selection samples in ONNX Runtime.
        notes: Settings and findings, for the JSON.
    """

    models: Mapping[str, Path]
    selection_metric: float
    notes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row that is done; times are of this machine."""

    name: str
    title: str
    models: Mapping[str, str]
    selection_metric: float
    wall_minutes: float
    cpu_minutes: float
    notes: Mapping[str, object]

    def model_paths(self, setting: Setting) -> dict[str, Path]:
        """The files by engine."""
        return {engine: setting.work / name for engine, name in self.models.items()}


def keep_row(name: str, title: str, make: Callable[[], Made], *, setting: Setting) -> Row:
    """The row from the work folder, or made now and kept there."""
    path = setting.work / f"row-{name}.json"
    if path.is_file():
        return Row(**json.loads(path.read_text(encoding="utf-8")))
    wall_s, cpu_s = time.monotonic(), _cpu_seconds()
    made = make()
    row = Row(
        name=name,
        title=title,
        models={engine: file.name for engine, file in made.models.items()},
        selection_metric=made.selection_metric,
        wall_minutes=(time.monotonic() - wall_s) / 60,
        cpu_minutes=(_cpu_seconds() - cpu_s) / 60,
        notes=made.notes,
    )
    write_atomically(path, json.dumps(asdict(row), indent=2).encode())
    return row


def _cpu_seconds() -> float:
    """Of this process with all its threads, and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
