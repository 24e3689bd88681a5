"""The measured parts of the page: what each stage's JSON says, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.comparison.machine_facts import describe_machine, warn_if_busy

Report = Mapping[str, Any]
RUNTIME_NAMES = {"onnxruntime": "ONNX Runtime", "litert": "LiteRT", "ncnn": "ncnn", "mnn": "MNN"}
NETWORK_NAMES = {"resnet18": "ResNet18", "mobilenet_v2": "MobileNetV2"}


def render_engine_times(report: Report) -> str:
    """Two threads beside one, a table for each network."""
    parts = [describe_machine(report["machine"]) + _versions(report), *warn_if_busy(report["machine"])]
    effort = report["effort"]
    parts.append(
        f"{effort['rounds']} rounds in which each runtime has its turn of {effort['seconds']:g} s, each in a process "
        "of its own; in brackets the medians of the fastest and the slowest round. Of float ONNX Runtime: the ratio of "
        "the medians in the same round at one thread, the median over the rounds and its quartiles. Difference: from "
        "PyTorch's scores, as a fraction of the largest."
    )
    for network in report["networks"]:
        rows = [row for row in report["times"] if row["network"] == network]
        threads = sorted({row["threads"] for row in rows})
        heading = " | ".join(f"p50, {count} thread{'s' * (count > 1)} | p99" for count in threads)
        lines = [
            f"| {NETWORK_NAMES[network]} | precision | {heading} | of float ONNX Runtime | difference |",
            f"|---|---|{'---:|---:|' * len(threads)}---:|---:|",
        ]
        for row in (row for row in rows if row["threads"] == threads[0]):
            same = [other for other in rows if _who(other) == _who(row)]
            times = " | ".join(_time(other) for other in sorted(same, key=lambda other: int(other["threads"])))
            # Results before version 0.2 have neither ratios nor workers.
            ratio = (
                f"{row['of_first']:.2f} ({row['of_first_low']:.2f} to {row['of_first_high']:.2f})"
                if "of_first" in row
                else ""
            )
            lines.append(f"| {_name(row)} | {row['precision']} | {times} | {ratio} | {row['difference']:.1g} |")
        parts.append("\n".join(lines))
    parts += [_render_workers(report["workers"])] if "workers" in report else []
    return "\n\n".join([*parts, _left_out(report)])


def _render_workers(workers: Sequence[Report]) -> str:
    """What a model costs the agent's worker."""
    lines = [
        "| in the agent's worker | engine | precision | size | time to load | resident memory | of it, its own |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {NETWORK_NAMES[row['network']]} | {_name(row)} | {row['precision']} | {row['size_bytes'] / 1e6:.1f} MB "
        f"| {row['load_ms']:.0f} ms ({row['fastest_load_ms']:.0f} to {row['slowest_load_ms']:.0f}) "
        f"| {row['resident_bytes'] / 1e6:.1f} MB | {row['anonymous_bytes'] / 1e6:.1f} MB |"
        for row in workers
    ]
    return "\n".join(lines)


def render_instructions(report: Report) -> str:
    """Millions of instructions, both networks side by side."""
    emulator = report["emulator"]
    wheels = f"One inference at one thread on an emulated {emulator['cpu']} ({emulator['qemu']}), from aarch64 wheels:"
    meaning = (
        "A count repeats within a tenth of a per cent and does not depend on the host. It says how much a kernel does, "
        "and nothing about how long it waits for memory."
    )
    parts = [f"{wheels}{_versions(report)} {meaning}"]
    networks = list(report["networks"])
    names = " | ".join(f"{NETWORK_NAMES[network]}, million | of float ONNX Runtime" for network in networks)
    lines = [f"| | precision | {names} | dot products |", f"|---|---|{'---:|---:|' * len(networks)}---:|"]
    rows = report["instructions"]
    for row in (row for row in rows if row["network"] == networks[0]):
        cells, dots = [], 0
        for network in networks:
            found = next(other for other in rows if _who(other) == _who(row) and other["network"] == network)
            base = next(other for other in rows if other["network"] == network)
            cells.append(
                f"{found['instructions'] / 1e6:,.1f} | {100 * found['instructions'] / base['instructions']:.0f} %"
            )
            dots += found["dot_products"]
        lines.append(f"| {_name(row)} | {row['precision']} | {' | '.join(cells)} | {dots:,} |")
    return "\n\n".join([*parts, "\n".join(lines), _left_out(report)])


def render_modelled(report: Report) -> str:
    """Estimated milliseconds with their errors, both networks side by side."""
    emulator = report["emulator"]
    wheels = f"One inference at one thread, from aarch64 wheels on an emulated {emulator['cpu']} ({emulator['qemu']}):"
    meaning = (
        "**These are estimates by the timing model in `deploy/emulator/cortex_a72`, not measurements.** The error was "
        "measured for ncnn on networks with published times and is assumed for the others."
    )
    networks = list(report["networks"])
    names = " | ".join(NETWORK_NAMES[network] for network in networks)
    lines = [f"| | precision | {names} |", f"|---|---|{'---:|' * len(networks)}"]
    rows = report["modelled"]
    for row in (row for row in rows if row["network"] == networks[0]):
        same = [next(o for o in rows if _who(o) == _who(row) and o["network"] == network) for network in networks]
        cells = " | ".join(f"{other['milliseconds']:.0f} ms ± {100 * other['error']:.0f} %" for other in same)
        lines.append(f"| {_name(row)} | {row['precision']} | {cells} |")
    return "\n\n".join([f"{wheels}{_versions(report)} {meaning}", "\n".join(lines)])


def render_compiler(report: Report) -> str:
    """Return the files that each row of bench-compiler made, in their engines, and the machines that measured them."""
    parts = []
    for name, engines in _group(report["measured_on"]).items():
        machine = report["machines"][name]
        runtimes = " and ".join(RUNTIME_NAMES[engine] for engine in engines)
        parts += [f"{runtimes}: {describe_machine(machine)}", *warn_if_busy(machine)]
    made = [f"({', '.join(rows)}) on {machine}" for machine, rows in _group(report["made_on"]).items()]
    parts.append(f"Made: {'; '.join(made)}.")
    parts.append(
        "LiteRT's files are made with litert-torch and, in int8, ai-edge-quantizer: row (c) of LiteRT is that tool "
        "alone. Instructions are those of one inference on the emulated Cortex-A72."
    )
    lines = [
        "| | variant | top-1 | size | p50, 1 thread | p50, 2 threads | peak memory | made in | instructions |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in report["measured"]:
        times = " | ".join(f"{row['timings'][threads]['p50_ms']:.3f} ms" for threads in ("1", "2"))
        count = f"{row['instructions'] / 1e6:.1f} M" if row["instructions"] else ""
        lines.append(
            f"| ({row['row']}) {row['title']} | {row['variant']} | {row['top1']:.2%} "
            f"| {row['size_bytes'] / 1e3:,.0f} KB | {times} | {row['peak_memory_bytes'] / 1e6:.0f} MB "
            f"| {row['wall_minutes']:.0f} min | {count} |"
        )
    parts.append("\n".join(lines))
    skipped = [f"Left out: ({row}) {reason}." for row, reason in report["skipped"].items()]
    return "\n\n".join([*parts, _targets(report["targets"]), *skipped])


def render_agent(report: Report) -> str:
    """Round trips and memory beside the peers."""
    parts = [describe_machine(report["machine"]), *warn_if_busy(report["machine"])]
    if report["comparison"]:
        lines = [
            "| round trip, engine's time taken off | tensor | body | p50 | p99 | p50 of a bare echo |",
            "|---|---|---:|---:|---:|---:|",
        ]
        lines += [
            f"| {row['name']} | {row['size']} | {row['request_bytes']:,} B | {row['over_engine_p50_ms']:.2f} ms "
            f"| {row['over_engine_p99_ms']:.2f} ms | {row['of_echo_p50']:.2f} |"
            for row in report["comparison"]
        ]
        parts.append("\n".join(lines))
    if report["footprints"]:
        lines = ["| memory with an int8 ResNet18 | processes | resident | proportional |", "|---|---:|---:|---:|"]
        lines += [
            f"| {row['name']} | {row['processes']} | {row['resident_bytes'] / 1e6:.1f} MB "
            f"| {row['proportional_bytes'] / 1e6:.1f} MB |"
            for row in report["footprints"]
        ]
        parts.append("\n".join(lines))
    failures = [f"Failed: {piece}: {reason}." for piece, reason in report.get("failures", {}).items()]
    return "\n\n".join([*parts, _targets(report["targets"]), *failures])


def _group(named: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of each value."""
    groups: dict[str, list[str]] = {}
    for name, value in named.items():
        groups.setdefault(value, []).append(name)
    return groups


def _targets(targets: Sequence[Report]) -> str:
    lines = ["| aim | measured | limit | met |", "|---|---:|---:|---|"]
    for target in targets:
        limit = f"at least {target['at_least']:g}" if "at_least" in target else f"at most {target['limit']:g}"
        unit = target.get("unit", "")
        met = "yes" if target["met"] else "**no**"
        value, most = (f"{text} {unit}".strip() for text in (f"{target['value']:g}", limit))
        lines.append(f"| {target['name']} | {value} | {most} | {met} |")
    return "\n".join(lines)


def _who(row: Report) -> tuple[str, str]:
    return row["runtime"], row["precision"]


def _name(row: Report) -> str:
    return RUNTIME_NAMES[row["runtime"]]


def _time(row: Report) -> str:
    spread = f"{row['fastest_round_ms']:.1f} to {row['slowest_round_ms']:.1f}"
    return f"{row['p50_ms']:.1f} ms ({spread}) | {row['p99_ms']:.1f} ms"


def _versions(report: Report) -> str:
    return " " + ", ".join(f"{RUNTIME_NAMES[name]} {version}" for name, version in report["versions"].items()) + "."


def _left_out(report: Report) -> str:
    return "Left out:\n\n" + "\n".join(f"- {what}: {why}." for what, why in report["left_out"].items())
