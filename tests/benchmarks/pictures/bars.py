"""Bar charts of the comparison page: one bar for each tool, from zero, shorter is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.comparison.tables import NETWORK_NAMES, RUNTIME_NAMES
from benchmarks.pictures.scatter import METHODS
from benchmarks.pictures.svg import WIDTH, picture, text, where_measured

_LEFT, _RIGHT, _TOP, _STEP, _THICK = 236.0, 150.0, 82.0, 26.0, 16.0
_BOTTOM = 22.0
_OURS = "drupelet"
_BINARY, _LARGE = "drupelet, binary", "1x3x224x224"
_BOTH, _PARTS = "agent, parent and worker", ("agent's parent", "agent's worker")
_SERVERS = {
    "mlserver": "MLServer, JSON",
    "litserve": "LitServe, JSON",
    "script": "a script of 60 lines",
    _BOTH: _OURS,
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its name, its length, and the value as it is written beside it."""

    name: str
    value: float
    shown: str
    is_ours: bool = False


def draw_bars(bars: Sequence[Bar], *, title: str, note: str) -> str:
    """Return a bar chart.

    Args:
        bars: The bars, from top to bottom.
        title: What is compared.
        note: The setting of the measurement.
    """
    most = max(bar.value for bar in bars)
    room = WIDTH - _LEFT - _RIGHT
    parts = [text(24, 34, title, "title"), text(24, 56, note, "soft")]
    for number, bar in enumerate(bars):
        middle = _TOP + number * _STEP + _THICK / 2
        kind = "ours" if bar.is_ours else "peer"
        width = max(2.0, round(room * bar.value / most, 1))
        parts.append(text(_LEFT - 10, middle + 4.5, bar.name, kind, "end"))
        parts.append(
            f'<rect x="{_LEFT:g}" y="{middle - _THICK / 2:g}" width="{width:g}" height="{_THICK:g}" rx="3" '
            f'class="{kind}"/>'
        )
        parts.append(text(_LEFT + width + 8, middle + 4.5, bar.shown, kind))
    summary = "; ".join(f"{bar.name}: {bar.shown}" for bar in bars) + f". {note}"
    height = round(_TOP + len(bars) * _STEP + _BOTTOM)
    return picture(parts, height=height, title=title, summary=summary)


def draw_round_trips(report: Mapping[str, Any]) -> str:
    """Return the time that each server adds to one inference with a large tensor."""
    rows = [row for row in report["comparison"] if row["size"] == _LARGE]
    bars = [
        Bar(_server(row["name"]), row["over_engine_p50_ms"], f"{row['over_engine_p50_ms']:.2f} ms", _is_ours(row))
        for row in rows
    ]
    size = next(row["request_bytes"] for row in rows if row["name"] == _BINARY)
    return draw_bars(
        sorted(bars, key=lambda bar: bar.value),
        title=f"Round trip of a request of {size / 1e3:.0f} KB, without the engine's time",
        note=f"Median. JSON is five times as large. Measured on {where_measured(report['machine'])}.",
    )


def draw_memory(report: Mapping[str, Any]) -> str:
    """Return the resident memory of each server with the same model."""
    bars = [
        Bar(_server(row["name"]), row["resident_bytes"], f"{row['resident_bytes'] / 1e6:.1f} MB", row["name"] == _BOTH)
        for row in report["footprints"]
        if row["name"] not in _PARTS
    ]
    return draw_bars(
        sorted(bars, key=lambda bar: bar.value),
        title="Resident memory with an int8 ResNet18 loaded",
        note=f"All processes of each server. Measured on {where_measured(report['machine'])}.",
    )


def draw_sizes(report: Mapping[str, Any]) -> str:
    """Return the size of the smallest file that each method made."""
    smallest: dict[str, Mapping[str, Any]] = {}
    for row in report["measured"]:
        if row["row"] not in smallest or row["size_bytes"] < smallest[row["row"]]["size_bytes"]:
            smallest[row["row"]] = row
    bars = [
        Bar(
            METHODS[row["row"]],
            row["size_bytes"],
            f"{row['size_bytes'] / 1e6:.2f} MB, {row['top1']:.1%}",
            _is_ours(row),
        )
        for row in smallest.values()
    ]
    return draw_bars(
        sorted(bars, key=lambda bar: bar.value, reverse=True),
        title="ResNet18: size of the smallest file, and its top-1",
        note="The same training budget for every method; top-1 on 10,000 images of Fashion-MNIST.",
    )


def draw_engine_times(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a chart for each network: the engines' times on the workstation."""
    where = where_measured(report["machine"])
    for network in report["networks"]:
        rows = [row for row in report["times"] if row["network"] == network and row["threads"] == 1]
        bars = [Bar(_engine(row), row["p50_ms"], f"{row['p50_ms']:.1f} ms") for row in rows]
        title = f"{NETWORK_NAMES[network]}: engines on a workstation, one thread"
        yield network, draw_bars(_ascending(bars), title=title, note=f"Median. Measured on {where}.")


def draw_instructions(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a chart for each network: the engines' instructions on the emulated processor of the Pi."""
    for network in report["networks"]:
        rows = [row for row in report["instructions"] if row["network"] == network]
        bars = [Bar(_engine(row), row["instructions"], f"{row['instructions'] / 1e6:,.0f} M") for row in rows]
        title = f"{NETWORK_NAMES[network]}: instructions of one inference on a Cortex-A72"
        note = "Counted on an emulated processor. Instructions are work, not time."
        yield network, draw_bars(_ascending(bars), title=title, note=note)


def _ascending(bars: Sequence[Bar]) -> list[Bar]:
    return sorted(bars, key=lambda bar: bar.value)


def _engine(row: Mapping[str, Any]) -> str:
    return f"{RUNTIME_NAMES[row['runtime']]}, {row['precision']}"


def _megabytes(row: Mapping[str, Any]) -> str:
    return f"{row['size_bytes'] / 1e6:.2f} MB"


def _is_ours(row: Mapping[str, Any]) -> bool:
    return str(row.get("title") or row["name"]).startswith(_OURS)


def _server(name: str) -> str:
    return _SERVERS.get(name, name)
