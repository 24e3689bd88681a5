"""Renders the comparison page: measured results, published numbers, features."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.comparison.features import ROOT, read_features, render_features
from benchmarks.comparison.tables import (
    NETWORK_NAMES,
    render_agent,
    render_compiler,
    render_engine_times,
    render_instructions,
    render_modelled,
)
from benchmarks.comparison.target_tables import render_latency_model, render_latency_model_litert, render_target

RESULTS = ROOT / "tests/benchmarks/results"
PAGE = ROOT / "shared/docs/comparison.md"
_PUBLISHED = Path(__file__).with_name("published.toml")
# By the name of the stage, which is that of its result too.
_SECTIONS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "compiler": ("The compiler compared with other tools", render_compiler),
    "agent": ("The agent compared with other servers", render_agent),
    "engines": ("Engines: time on a workstation", render_engine_times),
    "modelled": ("Engines: modelled time on the Pi's processor", render_modelled),
    "instructions": ("Engines: instructions on the Pi's processor", render_instructions),
    "latency-model": ("The timing model beside published times", render_latency_model),
    "latency-model-litert": ("The timing model beside published LiteRT times", render_latency_model_litert),
    "target": ("Deciding by the target's latency", render_target),
}
# The charts that `make pictures` draws from the same results, with what each shows.
_CHARTS: Mapping[str, Mapping[str, str]] = {
    "compiler": {"latency-accuracy": "latency against accuracy of each method", "sizes": "size of each method's file"},
    "agent": {"round-trips": "round trip of each server", "memory": "memory of each server"},
    "engines": {f"engines-{name}": f"time of {title} in each engine" for name, title in NETWORK_NAMES.items()},
    "instructions": {
        f"instructions-{name}": f"instructions of {title} in each engine" for name, title in NETWORK_NAMES.items()
    },
}
_INTRODUCTION = Path(__file__).with_name("introduction.md")
_NOT_YET = "Not measured yet on an idle machine: run `make bench`."


def render_page(results: Path = RESULTS) -> str:
    """Return the whole page, from the results that exist."""
    parts = [_INTRODUCTION.read_text(encoding="utf-8").strip()]
    for name, (title, render) in _SECTIONS.items():
        path = results / f"{name}.json"
        body = render(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else _NOT_YET
        charts = [f"![{what}](pictures/{file}.svg)" for file, what in _CHARTS.get(name, {}).items() if path.is_file()]
        parts.append("\n\n".join([f"## {title}", *charts, body]))
    parts.append(f"## Published times on a Raspberry Pi 4\n\n{_render_published()}")
    parts.append(f"## Features\n\n{render_features(read_features())}")
    return "\n\n".join(parts) + "\n"


def _render_published() -> str:
    document = tomllib.loads(_PUBLISHED.read_text(encoding="utf-8"))
    sources = {source["name"]: source for source in document["source"]}
    lines = ["| published by | network | precision | threads | time |", "|---|---|---|---|---:|"]
    lines += [
        f"| [{row['source']}]({sources[row['source']]['url']}) | {NETWORK_NAMES[row['network']]} | {row['precision']} "
        f"| {row['threads']} | {row['milliseconds']:g} ms |"
        for row in document["time"]
    ]
    settings = "\n".join(f"- {source['name']}: {source['setting']}." for source in sources.values())
    closing = (
        "These were not measured here and not with these weights. No published number of ONNX Runtime on this board "
        "states how it was measured."
    )
    return "\n\n".join(["\n".join(lines), settings, closing])
