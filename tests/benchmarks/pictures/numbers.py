"""The README's table of results, written from the result files between two marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BEGIN, END = "<!-- numbers: written by `make pictures` -->", "<!-- end of numbers -->"
_ROWS = {
    "a": "original, float32",
    "c": "static int8 by ONNX Runtime's tools, the best peer",
    "e": "Torch-Pruning 50 %, static int8",
    "g": "drupelet, at the best peer's top-1",
    "f": "drupelet, at most half a point lost",
}
_ENGINE = "onnxruntime"
# Peers whose variants are named after the engine alone.
_INT8_PEERS = ("c", "e")
_MODELLED = (
    "The last column is an estimate, of networks of the same shapes in a timing model of the Cortex-A72. Other engines"
    " suit some of them better: [the comparison](shared/docs/comparison.md) has all three."
)


def replace_numbers(
    readme: str, *, compiler: Mapping[str, Any], agent: Mapping[str, Any], target: Mapping[str, Any]
) -> str:
    """Return the README with the tables as the results give them.

    Args:
        readme: The README with both marks.
        compiler: The result of `make bench-compiler`.
        agent: The result of `make bench-agent`.
        target: The result of `make bench-target`.
    """
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    missed = _missed([*compiler["targets"], *agent["targets"]])
    parts = [BEGIN, _compiler_table(compiler, target), _agent_table(agent), missed, END]
    return before + "\n\n".join(parts) + after


def _compiler_table(report: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    fastest = {name: _fastest(report["measured"], name) for name in _ROWS}
    base = fastest["a"]["timings"]["1"]["p50_ms"]
    lines = [
        "| ResNet18 on Fashion-MNIST, ONNX Runtime, one thread | size | top-1 | p50 | times as fast | Pi 4, modelled |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, title in _ROWS.items():
        row, p50_ms = fastest[name], fastest[name]["timings"]["1"]["p50_ms"]
        cells = (_size(row["size_bytes"]), f"{row['top1']:.2%}", f"{p50_ms:.3f} ms", f"{base / p50_ms:.1f}")
        lines.append(f"| {title} | {' | '.join(cells)} | {_modelled(target, name, row['variant'])} |")
    measured = _measured(report["machines"][report["measured_on"][_ENGINE]])
    return f"{measured}\n\n" + "\n".join(lines) + f"\n\n{_MODELLED}"


def _modelled(target: Mapping[str, Any], row: str, variant: str) -> str:
    precision = "int8" if "static" in variant or row in _INT8_PEERS else "float32"
    time = next(
        one
        for one in target["results"]["recorded"]["times"]
        if (one["row"], one["engine"], one["precision"]) == (row, _ENGINE, precision)
    )
    return f"{time['ms']:.1f} ms ± {100 * time['error']:.0f} %"


def _agent_table(report: Mapping[str, Any]) -> str:
    memory = {row["name"]: row["resident_bytes"] / 1e6 for row in report["footprints"]}
    trip = {(row["name"], row["size"]): row["of_echo_p50"] for row in report["comparison"]}
    soak = report["soak"]
    faults = sum(soak["faults"].values())
    rows = [
        ("round trip of 1 KB, as a multiple of a bare MQTT echo", f"{trip['drupelet, binary', '1 KB']:.2f}"),
        ("the same, 600 KB", f"{trip['drupelet, binary', '1x3x224x224']:.2f}"),
        ("memory with an int8 ResNet18", f"{memory['agent, parent and worker']:.0f} MB"),
        ("the same for MLServer, LitServe", f"{memory['mlserver']:.0f} MB, {memory['litserve']:.0f} MB"),
        ("process start to first answer, slowest of 10", f"{report['start_s']['maximum']:.2f} s"),
        ("worker killed to next answer, slowest of 20", f"{report['recovery_s']['maximum']:.2f} s"),
        (
            f"{soak['minutes']:.0f} minutes, {faults} faults, {soak['sent']:,} requests: unanswered",
            f"{soak['unanswered']}",
        ),
    ]
    lines = ["| the agent | measured |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows)]
    return f"{_measured(report['machine'])}\n\n" + "\n".join(lines)


def _missed(targets: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence with every aim that the results miss."""
    aims = [
        f"{_plain_name(target['name'])} ({target['value']:.4g}{_unit(target)}, {_limit(target)}{_unit(target)})"
        for target in targets
        if not target["met"]
    ]
    return f"Missed so far: {'; '.join(aims)}." if aims else "Every aim is met."


def _plain_name(name: str) -> str:
    rows = {"f": _ROWS["f"], "g": _ROWS["g"]}
    row, found, rest = name.partition(": ")
    return f"{rest}, {rows[row].removeprefix('drupelet, ')}" if found and row in rows else name


def _limit(target: Mapping[str, Any]) -> str:
    return f"at least {target['at_least']:g}" if "at_least" in target else f"at most {target['limit']:g}"


def _unit(target: Mapping[str, Any]) -> str:
    return f" {target['unit']}" if target.get("unit") else ""


def _fastest(measured: Sequence[Mapping[str, Any]], row: str) -> Mapping[str, Any]:
    own = [found for found in measured if found["row"] == row and found["engine"] == _ENGINE]
    return min(own, key=lambda found: found["timings"]["1"]["p50_ms"])


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} KB"


def _measured(machine: Mapping[str, Any]) -> str:
    processor = machine["cpu"].replace("(R)", "")
    return (
        f"Measured on {machine['date'][:10]} on {machine['cores']} cores of an {processor}, "
        "a virtual machine; not on a Raspberry Pi:"
    )
