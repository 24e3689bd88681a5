"""Everything one run has measured, the targets it is held against, and both as JSON and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.distribution import Distribution
from benchmarks.many_clients import ManyClients
from benchmarks.memory import AGENT_ALONE, Memory
from benchmarks.round_trip import RoundTrip

_MAX_RATIO = 1.5
_MAX_MEMORY_MB = 40.0
_MAX_START_S = 3.0


@dataclass(slots=True)
class Results:
    """What was measured; None where a piece was not asked for or failed, and `failures` then says why."""

    machine: dict[str, object]
    round_trips: list[RoundTrip] | None = None
    memory: list[Memory] | None = None
    start_s: Distribution | None = None
    many_clients: ManyClients | None = None
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """A number and the most it may be."""

    name: str
    value: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the number keeps to its limit."""
        return self.value <= self.limit

    def as_json(self) -> dict[str, object]:
        """As a member of the report."""
        return {"name": self.name, "value": self.value, "limit": self.limit, "unit": self.unit, "met": self.met}


def judge(results: Results) -> list[Target]:
    """Hold what was measured against the targets."""
    return [*_judge_round_trips(results), *_judge_memory(results), *_judge_start(results), *_judge_clients(results)]


def format_table(targets: list[Target], failures: dict[str, str]) -> str:
    """Return the targets as Markdown."""
    lines = ["| what | measured | at most | met |", "|---|---:|---:|---|"]
    for target in targets:
        met = "yes" if target.met else "**no**"
        lines.append(f"| {target.name} | {target.value:g} {target.unit} | {target.limit:g} {target.unit} | {met} |")
    lines.extend(f"| {piece} | failed: {reason} | | **no** |" for piece, reason in failures.items())
    return "\n".join(lines)


def _judge_round_trips(results: Results) -> Iterator[Target]:
    for row in results.round_trips or ():
        sizes = f"request {row.request_bytes} B, reply {row.reply_bytes} B"
        yield Target(f"round trip over bare echo, median, {sizes}", row.bare.ratio_of_medians, _MAX_RATIO, "x")


def _judge_memory(results: Results) -> Iterator[Target]:
    for row in results.memory or ():
        # The target is the agent as a device has it; the development environment's number is there to compare.
        if row.environment == AGENT_ALONE:
            yield Target("agent's resident memory", round(row.resident_bytes / 1e6, 1), _MAX_MEMORY_MB, "MB")


def _judge_start(results: Results) -> Iterator[Target]:
    if results.start_s is not None:
        name = f"process start to first answer, slowest of {results.start_s.count}"
        yield Target(name, round(results.start_s.maximum, 3), _MAX_START_S, "s")


def _judge_clients(results: Results) -> Iterator[Target]:
    outcome = results.many_clients
    if outcome is not None:
        wrong = outcome.missing + outcome.repeated + outcome.mistaken
        yield Target(f"requests of {outcome.clients} clients not ended exactly once", wrong, 0, f"of {outcome.sent}")
