"""The numbers as JSON and as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.compiler.measuring import THREADS, Line
from benchmarks.compiler.rows import Row

_ORIGINAL = "a"
_PRODUCT = ("f", "g")


def make_report(
    rows: Sequence[Row], lines: Sequence[Line], *, machine: Mapping[str, object], skipped: Mapping[str, str]
) -> dict[str, Any]:
    """Everything, and the targets."""
    return {
        "machine": dict(machine),
        "rows": [asdict(row) for row in rows],
        "measured": [asdict(line) for line in lines],
        "targets": judge(lines),
        "skipped": dict(skipped),
    }


def judge(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """The numbers that the compiler is held to; a target whose row is missing is left out."""
    found = {line.row: line for line in reversed(lines) if line.engine == "onnxruntime"}
    targets = []
    if {_ORIGINAL, "f"} <= found.keys():
        start, product = found[_ORIGINAL], found["f"]
        targets += [
            _at_least("f: smaller than the original", 1 - product.size_bytes / start.size_bytes, 0.98),
            _at_least("f: times faster than the original, one thread", _p50(start) / _p50(product), 14.0),
            _at_least("f: top-1 less the original's", product.top1 - start.top1, -0.005),
        ]
    peers = [line for name, line in found.items() if name not in {_ORIGINAL, *_PRODUCT}]
    if peers and "g" in found:
        best = max(peers, key=lambda line: line.top1)
        targets += [
            _at_least(f"g: times faster than the best peer ({best.row})", _p50(best) / _p50(found["g"]), 2.0),
            _at_least(f"g: top-1 less the best peer's ({best.row})", found["g"].top1 - best.top1, 0.0),
        ]
    return targets


def format_table(lines: Sequence[Line]) -> str:
    """One row for each file in each engine, with the ratios to the original."""
    times = " | ".join(f"p50 / p99, {threads} thread{'s' * (threads > 1)}" for threads in THREADS)
    heading = f"| | engine | top-1 | size | {times} | faster | peak memory | compile | instructions, emulated A72 |"
    ruler = "|---|---|---:|---:|" + "---:|" * len(THREADS) + "---:|---:|---:|---:|"
    start = next((line for line in lines if line.row == _ORIGINAL), None)
    return "\n".join([heading, ruler, *(_format(line, start) for line in lines)])


def _format(line: Line, start: Line | None) -> str:
    timings = " | ".join(
        f"{line.timings[threads].p50_ms:.3f} / {line.timings[threads].p99_ms:.3f} ms" for threads in THREADS
    )
    smaller = f" (-{1 - line.size_bytes / start.size_bytes:.1%})" if start and line is not start else ""
    instructions = f"{line.instructions / 1e6:.2f} M" if line.instructions else ""
    faster = f"{_p50(start) / _p50(line):.1f}x" if start else ""
    return (
        f"| ({line.row}) {line.title} | {line.engine} | {line.top1:.2%} | {line.size_bytes / 1e6:.2f} MB{smaller} |"
        f" {timings} | {faster} | {line.peak_memory_bytes / 1e6:.0f} MB | {line.wall_minutes:.1f} min |"
        f" {instructions} |"
    )


def _p50(line: Line) -> float:
    return line.timings[1].p50_ms


def _at_least(name: str, value: float, limit: float) -> dict[str, Any]:
    return {"name": name, "value": round(value, 4), "at_least": limit, "met": value >= limit}
