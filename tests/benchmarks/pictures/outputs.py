"""Every picture of the documentation and the README's tables: the file, and its text as the results give it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.comparison.features import ROOT
from benchmarks.comparison.page import RESULTS
from benchmarks.pictures.bars import (
    draw_engine_times,
    draw_instructions,
    draw_memory,
    draw_round_trips,
    draw_sizes,
)
from benchmarks.pictures.numbers import replace_numbers
from benchmarks.pictures.scatter import draw_scatter
from benchmarks.pictures.terminal import draw_recording
from drupelet_shared.files import write_atomically

README = ROOT / "README.md"
PICTURES = ROOT / "shared/docs/pictures"
RECORDING = RESULTS / "demo.json"


def make_outputs() -> dict[Path, str]:
    """Return every picture, and the README with its tables, by path."""
    drawn = {PICTURES / f"{name}.svg": content for name, content in _pictures()}
    readme = README.read_text(encoding="utf-8")
    return {
        **drawn,
        README: replace_numbers(readme, compiler=_read("compiler"), agent=_read("agent"), target=_read("target")),
    }


def write_outputs() -> None:
    """Write every picture, and the tables of the README."""
    PICTURES.mkdir(exist_ok=True)
    for path, content in make_outputs().items():
        write_atomically(path, content.encode())


def _pictures() -> Iterator[tuple[str, str]]:
    compiler, agent = _read("compiler"), _read("agent")
    yield "latency-accuracy", draw_scatter(compiler)
    yield "sizes", draw_sizes(compiler)
    yield "round-trips", draw_round_trips(agent)
    yield "memory", draw_memory(agent)
    for network, drawn in draw_engine_times(_read("engines")):
        yield f"engines-{network}", drawn
    for network, drawn in draw_instructions(_read("instructions")):
        yield f"instructions-{network}", drawn
    yield "demo", draw_recording(_read("demo"))


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found
