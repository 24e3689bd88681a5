"""The numbers as JSON and as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.compiler.making import PRODUCT, REPEATED, REPETITION
from benchmarks.compiler.measuring import THREADS, Line
from benchmarks.compiler.rows import Row
from benchmarks.compiler.setting import Setting
from drupelet_host.selection.variants import MIXED

_ORIGINAL = "a"
_ENGINE = "onnxruntime"
# Which of its layers are int8 depends on measured times, which are never the same twice.
_BY_TIME = MIXED
# The published claim of the method that this began with: size -59 %, latency -57 %, accuracy -1.5 points.
_CLAIM = {"smaller": 0.59, "faster": 0.57, "lost": -0.015}


def make_report(
    rows: Sequence[Row],
    lines: Sequence[Line],
    *,
    same: Mapping[str, bool],
    skipped: Mapping[str, str],
    machines: Mapping[str, object],
    setting: Setting,
) -> dict[str, Any]:
    """Everything, and the targets.

    Args:
        rows: Those that were made.
        lines: Those that were measured.
        same: Whether a variant of the repeated row had the same bytes twice.
        skipped: Why rows are missing.
        machines: Those that took part; each row and each engine's lines name theirs.
        setting: What the rows were made with.
    """
    return {
        "machines": dict(machines),
        # Paths of that machine do not belong in a report.
        "setting": {name: value for name, value in asdict(setting).items() if not isinstance(value, Path)},
        "made_on": {row.name: row.machine for row in rows},
        "measured_on": {engine: _machine(lines, engine) for engine in dict.fromkeys(line.engine for line in lines)},
        "rows": [asdict(row) for row in rows],
        "measured": [asdict(line) for line in lines],
        "same_bytes_twice": dict(same),
        "targets": [*judge(lines), *_judge_repetition(same)],
        "skipped": dict(skipped),
    }


def compare_bytes(rows: Sequence[Row]) -> dict[str, bool]:
    """Return whether each variant that the repeated row made has the digest that it had the second time."""
    found = {row.name: dict(row.notes["digests"]) for row in rows if row.name in {REPEATED, REPETITION}}  # type: ignore[call-overload]  # JSON
    if len(found) < len((REPEATED, REPETITION)):
        return {}
    return {variant: digest == found[REPETITION].get(variant) for variant, digest in found[REPEATED].items()}


def judge(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return the numbers that the compiler is held to; a target whose row is missing is left out."""
    found = best_lines(lines, engine=_ENGINE)
    targets = []
    if {_ORIGINAL, "f"} <= found.keys():
        start, product = found[_ORIGINAL], found["f"]
        smaller, faster = 1 - product.size_bytes / start.size_bytes, start.p50_ms / product.p50_ms
        lost = product.top1 - start.top1
        targets += [
            _at_least("f: smaller than the original", smaller, 0.98),
            _at_least("f: times faster than the original, one thread", faster, 14.0),
            _at_least("f: top-1 less the original's", lost, -0.005),
            _at_least("f: published claim, size", smaller, _CLAIM["smaller"]),
            _at_least("f: published claim, latency", 1 - 1 / faster, _CLAIM["faster"]),
            _at_least("f: published claim, accuracy", lost, _CLAIM["lost"]),
        ]
    targets += _judge_other_engines(lines)
    peers = [line for name, line in found.items() if name not in {_ORIGINAL, *PRODUCT, REPETITION}]
    if peers and "g" in found:
        best = max(peers, key=lambda line: line.top1)
        targets += [
            _at_least(f"g: times faster than the best peer ({best.row})", best.p50_ms / found["g"].p50_ms, 2.0),
            _at_least(f"g: top-1 less the best peer's ({best.row})", found["g"].top1 - best.top1, 0.0),
        ]
    return targets


def _judge_other_engines(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """The same module in each engine that it was converted for: its fastest file loses as little."""
    targets = []
    for engine in dict.fromkeys(line.engine for line in lines if line.engine != _ENGINE):
        found = best_lines(lines, engine=engine)
        if {_ORIGINAL, "f"} <= found.keys():
            lost = found["f"].top1 - found[_ORIGINAL].top1
            targets.append(_at_least(f"f in {engine}: top-1 less the original's", lost, -0.005))
    return targets


def best_lines(lines: Sequence[Line], *, engine: str) -> dict[str, Line]:
    """Return the fastest file of each row: a device measures the variants of a package and takes that one."""
    best: dict[str, Line] = {}
    for line in lines:
        if line.engine == engine and (line.row not in best or line.p50_ms < best[line.row].p50_ms):
            best[line.row] = line
    return best


def format_table(lines: Sequence[Line]) -> str:
    """Return one row for each file, with the ratios to the original in the same engine."""
    times = " | ".join(f"p50 / p99, {threads} thread{'s' * (threads > 1)}" for threads in THREADS)
    heading = f"| | variant | top-1 | size | {times} | faster | peak memory | made in | instructions, emulated A72 |"
    ruler = "|---|---|---:|---:|" + "---:|" * len(THREADS) + "---:|---:|---:|---:|"
    starts = {line.engine: line for line in lines if line.row == _ORIGINAL}
    return "\n".join([heading, ruler, *(_format(line, starts.get(line.engine)) for line in lines)])


def _format(line: Line, start: Line | None) -> str:
    timings = " | ".join(
        f"{line.timings[threads].p50_ms:.3f} / {line.timings[threads].p99_ms:.3f} ms" for threads in THREADS
    )
    smaller = f" (-{1 - line.size_bytes / start.size_bytes:.1%})" if start and line is not start else ""
    instructions = f"{line.instructions / 1e6:.2f} M" if line.instructions else ""
    faster = f"{start.p50_ms / line.p50_ms:.1f}x" if start else ""
    size = f"{line.size_bytes / 1e6:.2f} MB" if line.size_bytes >= 10**6 else f"{line.size_bytes / 1e3:.0f} KB"
    return (
        f"| ({line.row}) {line.title} | {line.variant} | {line.top1:.2%} | {size}{smaller} |"
        f" {timings} | {faster} | {line.peak_memory_bytes / 1e6:.0f} MB | {line.wall_minutes:.1f} min |"
        f" {instructions} |"
    )


def _machine(lines: Sequence[Line], engine: str) -> str:
    return ", ".join(dict.fromkeys(line.machine for line in lines if line.engine == engine))


def _judge_repetition(same: Mapping[str, bool]) -> list[dict[str, Any]]:
    judged = [equal for variant, equal in same.items() if variant != _BY_TIME]
    return [_at_least("f: variants with the same bytes in two runs", sum(judged) / len(judged), 1.0)] if judged else []


def _at_least(name: str, value: float, limit: float) -> dict[str, Any]:
    return {"name": name, "value": round(value, 4), "at_least": limit, "met": value >= limit}
