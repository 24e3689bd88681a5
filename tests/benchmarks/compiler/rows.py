"""A row of the table as it is kept on disk: which files it is about, and what it took to make them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.compiler.setting import Setting, describe_here
from drupelet_host.compiler.lineage import digest_file
from drupelet_shared.files import write_atomically

_SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a row made.

    Attributes:
        models: The files by variant.
        selection_metric: Top-1 on the selection samples in ONNX Runtime, of the best variant.
        passes: How often the recovery went through the training samples.
        notes: Settings and findings, for the JSON.
    """

    models: Mapping[str, Path]
    selection_metric: float
    passes: int = 0
    notes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row that is done; times are of the machine that made it, with other rows in the making beside it.

    The digests are of the files as they were made: the original is written anew where it is missing.
    """

    name: str
    title: str
    models: Mapping[str, str]
    digests: Mapping[str, str]
    selection_metric: float
    passes: int
    wall_minutes: float
    cpu_minutes: float
    machine: str
    notes: Mapping[str, object]

    def model_paths(self, setting: Setting) -> dict[str, Path]:
        """Return the files by variant."""
        return {variant: setting.work / name for variant, name in self.models.items()}


def make_row(name: str, title: str, make: Callable[[], Made], *, setting: Setting) -> Row:
    """Make a row and keep it in the work folder."""
    wall_s, cpu_s = time.monotonic(), _cpu_seconds()
    made = make()
    row = Row(
        name=name,
        title=title,
        models={variant: file.name for variant, file in made.models.items()},
        digests={variant: digest_file(file) for variant, file in made.models.items()},
        selection_metric=made.selection_metric,
        passes=made.passes,
        wall_minutes=(time.monotonic() - wall_s) / _SECONDS_PER_MINUTE,
        cpu_minutes=(_cpu_seconds() - cpu_s) / _SECONDS_PER_MINUTE,
        machine=describe_here(setting),
        notes=made.notes,
    )
    write_atomically(_path(setting, name), json.dumps(asdict(row), indent=2).encode())
    return row


def find_row(name: str, *, setting: Setting) -> Row | None:
    """Return a row that an earlier run made."""
    path = _path(setting, name)
    return Row(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _path(setting: Setting, name: str) -> Path:
    return setting.work / f"row-{name}.json"


def _cpu_seconds() -> float:
    """Of this process with all its threads, and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
