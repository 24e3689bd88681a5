"""The parts of the page on modelled times: the timing model itself, and what deciding by the target is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.comparison.machine_facts import describe_machine, warn_if_busy

Report = Mapping[str, Any]


def render_latency_model(report: Report) -> str:
    """Return each network's published and modelled time."""
    pairs = report["pairs"]
    words = (
        f"{len(report['networks'])} networks of ncnn's benchmark, one thread. Published times of a Raspberry Pi 4, "
        f"beside **modelled** ones (QEMU and `deploy/emulator/cortex_a72`, times {report['scale']}): mean absolute "
        f"error {report['mean_error']:.1%}, worst {report['worst_error']:.1%}, rank correlation "
        f"{report['rank_correlation']:.3f}, {pairs['in_order']} of {pairs['all']} pairs that are a tenth apart in "
        f"order. The factor was fitted to these networks. Modelled on {report['machine']['date'][:10]}; the machine's "
        "load does not change a modelled time."
    )
    lines = _list_networks(report["networks"], "modelled", "error")
    ratios = ["| | int8 / float32, published | modelled |", "|---|---:|---:|"]
    ratios += [
        f"| {network} | {ratio['published']:.2f} | {ratio['modelled']:.2f} |"
        for network, ratio in report["int8_to_float32"].items()
    ]
    return "\n\n".join([words, "\n".join(lines), "\n".join(ratios)])


def render_latency_model_litert(report: Report) -> str:
    """Return LiteRT's networks, by the source of their published times."""
    words = (
        "Published times of a Raspberry Pi 4 whose number of threads is not stated, beside **modelled** ones of one "
        "thread (QEMU and `deploy/emulator/cortex_a72`). Each source has one factor of its own, fitted to its "
        "networks: what is left is how well the model tells networks, input sizes and precisions apart. A factor below "
        "1 is what several threads gain."
    )
    parts = [words]
    for source, found in report["sources"].items():
        pairs = found["pairs"]
        parts.append(
            f"**{source}**, {len(found['networks'])} networks, times {found['factor']}: mean absolute error "
            f"{found['mean_error']:.1%}, worst {found['worst_error']:.1%}, rank correlation "
            f"{found['rank_correlation']:.3f}, {pairs['in_order']} of {pairs['all']} pairs that are a tenth apart in "
            "order."
        )
        parts.append("\n".join(_list_networks(found["networks"], "modelled, one thread", "error with the factor")))
    return "\n\n".join(parts)


def _list_networks(networks: Sequence[Report], modelled: str, error: str) -> list[str]:
    """Return the lines of a table of networks under these headings."""
    return [
        f"| network | published | {modelled} | {error} |",
        "|---|---:|---:|---:|",
        *(
            f"| {one['network']} | {one['published_ms']:.1f} ms | {one['modelled_ms']:.1f} ms | {one['error']:+.1%} |"
            for one in networks
        ),
    ]


def render_target(report: Report) -> str:
    """Return what the search by latency, boards in the loop and recorded shapes reached."""
    parts = [describe_machine(report["machine"]), *warn_if_busy(report["machine"])]
    parts.append("Modelled times do not depend on the load of the machine that models them.")
    lines = ["| | aim | reached | met |", "|---|---|---|---|"]
    for name, target in report["targets"].items():
        reached = target["reached"]
        if isinstance(reached, Mapping):
            reached = ", ".join(f"{key} {_percent(value)}" for key, value in reached.items())
        met = "yes" if target["met"] else "**no**"
        lines.append(f"| {name.replace('_', ' ')} | {target['aim']} | {reached} | {met} |")
    return "\n\n".join([*parts, "\n".join(lines), *_render_parts(report["results"])])


def _render_parts(results: Report) -> Iterator[str]:
    plans = [part for name, part in results.items() if name.startswith("plans-")]
    if plans:
        yield (
            "**Latency-driven against MAC-driven search**, modelled, each model in its best engine. Both ways see the "
            "same sensitivity curves and recover alike after each step. Time per MAC is what a group that loses half "
            "of its channels saves of the time, for each share that it saves of the arithmetic: where groups are alike "
            "in it, both ways choose alike and there is little to gain. One run of each: the points vary by chance."
        )
        lines = [
            "| network | engine | original | time per MAC, quartiles | lower at equal metric | range | setting |",
            "|---|---|---:|---:|---:|---:|---|",
        ]
        lines += [_render_plan(part) for part in plans]
        yield "\n".join(lines)
    if "recorded" in results:
        yield _render_recorded(results["recorded"])
    if "trained" in results:
        yield _render_trained(results["trained"])
    if "loop" in results:
        yield _render_loop(results["loop"])


def _render_plan(part: Report) -> str:
    reductions = part["reductions_at_equal_metric"].values()
    spread = f"{_percent(min(reductions))} to {_percent(max(reductions))}" if reductions else ""
    return (
        f"| {part['network']} | {part['engine']} {part['precision']} | {part['original_ms']:.2f} ms "
        f"| {part['time_per_mac']['q1']:.2f} to {part['time_per_mac']['q3']:.2f} "
        f"| {_percent(part['median_reduction'])} | {spread} | {part['what']} |"
    )


def _render_recorded(part: Report) -> str:
    words = (
        "**The compiler's rows on the Pi's processor**, modelled: networks of the recorded shapes with seeded weights "
        "in the timing model, one thread. Top-1 is that of the trained files in the table of the compiler."
    )
    lines = ["| row | engine | precision | modelled | by the latency table | top-1 |", "|---|---|---|---:|---:|---:|"]
    lines += [
        f"| ({time['row']}) | {time['engine']} | {time['precision']} "
        f"| {time['ms']:.2f} ms ± {100 * time['error']:.0f} % | {time['table_ms']:.2f} ms | {time['top1']:.2%} |"
        for time in part["times"]
    ]
    return f"{words}\n\n" + "\n".join(lines)


def _render_trained(part: Report) -> str:
    compiles = "; ".join(
        f'row ({one["row"]}) with `max_latency = "{one["max_latency"]}"`, {one["passes"]} passes of recovery in '
        f"{one['minutes']:.0f} minutes"
        for one in part["compiles"]
    )
    words = (
        f"**Compiled for the Pi's processor**, modelled: {part['what']}, one thread; "
        f"`max_metric_drop = {part['setting']['max_metric_drop']}`; {compiles}. Row (a) is the original, (c) its "
        "static int8."
    )
    lines = ["| row | engine | precision | modelled | top-1 | bytes |", "|---|---|---|---:|---:|---:|"]
    lines += [
        f"| ({one['row']}) | {one['engine']} | {one['variant']} | {one['ms']:.2f} ms ± {100 * one['error']:.0f} % "
        f"| {one['top1']:.2%} | {one['bytes']} |"
        for one in part["files"]
    ]
    return f"{words}\n\n" + "\n".join(lines)


def _render_loop(part: Report) -> str:
    minutes = part["compile_minutes"]
    words = (
        f"**Boards in the loop**, measured: {part['what']}. Original {part['original_ms']:.3f} ms; another model's p99 "
        f"{part['served_p99_ms']['before']:.1f} ms before, {part['served_p99_ms']['during']:.1f} ms during; minutes "
        f"of the first compiles: {_list(minutes['boards'])} with the board, {_list(minutes['workstation'])} with the "
        "workstation's times."
    )
    lines = ["| limit | compiled | after installation | held |", "|---:|---:|---:|---|"]
    lines += [
        f"| {one['limit_ms']:.3f} ms | {_milliseconds(one['compiled_ms'])} | {_milliseconds(one['installed_ms'])} "
        f"| {'yes' if one['held'] else '**no**'} |"
        for one in part["recipes"]
    ]
    return f"{words}\n\n" + "\n".join(lines)


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f} ms"


def _percent(value: float | None) -> str:
    return "not comparable" if value is None else f"{100 * value:.1f} %"
