"""Everything one run has measured, the aims it is held against, and the tables of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.agent.comparison import LARGE, OURS, SMALL, PeerTimes
from benchmarks.agent.footprint import Footprint
from benchmarks.agent.soak import Soak
from benchmarks.agent.throughput import Throughput
from benchmarks.distribution import Distribution
from benchmarks.results import Target, format_table

_MAX_LOST_SHARE = 0.05
_MAX_AGENT_MB = 150.0
_MAX_PARENT_MB = 40.0
_MAX_START_S = 1.5
_MAX_RECOVERY_S = 1.0
_MAX_GROWTH = 0.02
_MAX_OF_ECHO = {SMALL: 1.5, LARGE: 1.3}


@dataclass(slots=True)
class AgentResults:
    """What was measured; None where a piece was not asked for or failed, and `failures` then says why."""

    machine: dict[str, object]
    throughput: Throughput | None = None
    comparison: list[PeerTimes] | None = None
    footprints: list[Footprint] | None = None
    start_s: Distribution | None = None
    recovery_s: Distribution | None = None
    soak: Soak | None = None
    failures: dict[str, str] = field(default_factory=dict)


def judge(results: AgentResults) -> list[Target]:
    """Hold what was measured against the aims."""
    return [*_judge_speed(results), *_judge_memory(results), *_judge_soak(results)]


def format_markdown(results: AgentResults) -> str:
    """Return the aims, and the agent beside its peers."""
    parts = [format_table(judge(results), results.failures)]
    if results.comparison:
        parts.append(_format_comparison(results.comparison))
    if results.footprints:
        parts.append(_format_footprints(results.footprints))
    return "\n\n".join(parts) + "\n"


def _judge_speed(results: AgentResults) -> Iterator[Target]:
    if results.throughput is not None:
        found = results.throughput
        name = f"throughput lost through MQTT, inference of {found.inference_ms:g} ms"
        yield Target(name, round(100 * (1 - found.share), 2), 100 * _MAX_LOST_SHARE, "%")
    for row in results.comparison or ():
        if row.name == OURS:
            name = f"round trip over bare echo, engine off, median, {row.size} tensor"
            yield Target(name, row.of_echo_p50, _MAX_OF_ECHO[row.size], "x")
    if results.start_s is not None:
        name = f"process start to first answer, slowest of {results.start_s.count}"
        yield Target(name, round(results.start_s.maximum, 3), _MAX_START_S, "s")
    if results.recovery_s is not None:
        name = f"killed worker to next answer, slowest of {results.recovery_s.count}"
        yield Target(name, round(results.recovery_s.maximum, 3), _MAX_RECOVERY_S, "s")


def _judge_memory(results: AgentResults) -> Iterator[Target]:
    found = {footprint.name: footprint for footprint in results.footprints or ()}
    for name, limit in (("agent's parent", _MAX_PARENT_MB), ("agent, parent and worker", _MAX_AGENT_MB)):
        if name in found:
            yield Target(f"{name}, int8 ResNet18, resident", round(found[name].resident_bytes / 1e6, 1), limit, "MB")


def _judge_soak(results: AgentResults) -> Iterator[Target]:
    soak = results.soak
    if soak is None:
        return
    yield Target(f"requests unanswered in {soak.minutes:g} minutes of faults", soak.unanswered, 0, f"of {soak.sent}")
    yield Target(
        "growth of the parent's memory after the first minute", 100 * soak.parent_growth, 100 * _MAX_GROWTH, "%"
    )
    yield Target("growth of parent and worker after the first minute", 100 * soak.total_growth, 100 * _MAX_GROWTH, "%")
    yield Target("descriptors more than at first", soak.descriptors_last - soak.descriptors_first, 0, "")


def _format_comparison(rows: list[PeerTimes]) -> str:
    lines = [
        "| round trip, engine's time taken off | tensor | body | p50 | p99 | p50 of echo | p99 of echo |",
        "|---|---|---:|---:|---:|---:|---:|",
        *(
            f"| {row.name} | {row.size} | {row.request_bytes:,} B | {row.over_engine_p50_ms:.2f} ms "
            f"| {row.over_engine_p99_ms:.2f} ms | {row.of_echo_p50:.2f} | {row.of_echo_p99:.2f} |"
            for row in rows
        ),
    ]
    return "\n".join(lines)


def _format_footprints(rows: list[Footprint]) -> str:
    lines = [
        "| memory with an int8 ResNet18 | processes | resident | proportional |",
        "|---|---:|---:|---:|",
        *(
            f"| {row.name} | {row.processes} | {row.resident_bytes / 1e6:.1f} MB "
            f"| {row.proportional_bytes / 1e6:.1f} MB |"
            for row in rows
        ),
    ]
    return "\n".join(lines)
