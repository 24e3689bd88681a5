"""The profiles that ONNX Runtime writes, as times of operators; needs no runtime."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drupelet_shared.contract.measuring import OperatorTime
from drupelet_shared.errors import EngineError
from drupelet_shared.timing import percentile

_KERNEL = "_kernel_time"
_RUN = "model_run"
# The time of these contains that of the operators in their subgraphs.
_CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
_MICROSECONDS_PER_MS = 1000

Event = Mapping[str, Any]
_Path = tuple[str, ...]


@dataclass(slots=True)
class _Operator:
    """What one operator took, in microseconds, in each inference in which it ran."""

    kind: str
    output: str
    total_us: list[int] = field(default_factory=list)
    self_us: list[int] = field(default_factory=list)
    calls: int = 0


@dataclass(slots=True)
class _Run:
    """What one operator took in one inference, in microseconds."""

    total_us: int = 0
    inside_us: int = 0


def read_operators(file: Path, *, runs: int) -> tuple[OperatorTime, ...]:
    """Read the operators of a profile in the order in which they ran, each with its times in one inference.

    Args:
        file: The file that ONNX Runtime wrote.
        runs: How many inferences at its end count; those before were warm-up.

    Returns:
        Median and mean of each operator over these inferences.

    Raises:
        EngineError: The file is not a profile of ONNX Runtime, or has fewer inferences.
    """
    counted: deque[list[Event]] = deque(maxlen=runs)
    pending: list[Event] = []
    for event in _read_events(file):
        if event.get("cat") == "Node" and str(event["name"]).endswith(_KERNEL):
            pending.append(event)
        elif event["name"] == _RUN:
            counted.append(pending)
            pending = []
    if len(counted) < runs:
        raise EngineError(f"profile {file.name} has {len(counted)} inferences: expected at least {runs}")
    operators: dict[_Path, _Operator] = {}
    for run in counted:
        _add_run(operators, run)
    positions = {path: position for position, path in enumerate(operators)}
    return tuple(_to_time(path, operator, positions, runs) for path, operator in operators.items())


def count_operators(file: Path) -> int:
    """Return how many operators ran in all inferences of a profile.

    Raises:
        EngineError: The file is not a profile of ONNX Runtime.
    """
    return sum(event.get("cat") == "Node" for event in _read_events(file))


def _read_events(file: Path) -> Iterator[Event]:
    """Yield one event at a time, as devices have little memory; ONNX Runtime writes each on a line of its own."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            text = line.strip().rstrip(",")
            if text in {"", "[", "]"}:
                continue
            try:
                event = json.loads(text)
                event["name"], event["ts"], event["dur"], event["args"]
            except (ValueError, KeyError, TypeError) as error:
                raise EngineError(f"profile {file.name}: a line is no event of ONNX Runtime: {text[:80]!r}") from error
            yield event


def _add_run(operators: dict[_Path, _Operator], run: Sequence[Event]) -> None:
    # Of two that start in the same microsecond the longer one contains the other.
    around: list[tuple[int, _Path]] = []
    times: dict[_Path, _Run] = {}
    for event in sorted(run, key=lambda event: (event["ts"], -event["dur"])):
        kind, name = _name(event)
        while around and event["ts"] >= around[-1][0]:
            around.pop()
        path = (*(around[-1][1] if around else ()), name)
        operators.setdefault(path, _Operator(kind, _output(event["args"]))).calls += 1
        times.setdefault(path, _Run()).total_us += event["dur"]
        if around:
            times[around[-1][1]].inside_us += event["dur"]
        if kind in _CONTROL_FLOW:
            around.append((event["ts"] + event["dur"], path))
    for path, time in times.items():
        operators[path].total_us.append(time.total_us)
        operators[path].self_us.append(max(0, time.total_us - time.inside_us))


def _to_time(path: _Path, operator: _Operator, positions: Mapping[_Path, int], runs: int) -> OperatorTime:
    return OperatorTime(
        name=path[-1],
        type=operator.kind,
        output=operator.output or None,
        calls=operator.calls / runs,
        p50_ms=_median_ms(operator.total_us, runs),
        mean_ms=sum(operator.total_us) / runs / _MICROSECONDS_PER_MS,
        self_ms=_median_ms(operator.self_us, runs),
        self_mean_ms=sum(operator.self_us) / runs / _MICROSECONDS_PER_MS,
        parent=positions.get(path[:-1]),
    )


def _median_ms(times_us: Sequence[int], runs: int) -> float:
    """Return the median over all runs; an operator of a branch took nothing in the runs that went another way."""
    ordered = sorted([*times_us, *([0] * (runs - len(times_us)))])
    return percentile(ordered, 0.5) / _MICROSECONDS_PER_MS


def _name(event: Event) -> tuple[str, str]:
    kind = str(event["args"].get("op_name", "unknown"))
    name = str(event["name"]).removesuffix(_KERNEL)
    return kind, name or f"{kind}_{event['args'].get('node_index', '')}"


def _output(args: Mapping[str, Any]) -> str:
    """Return the shapes of the outputs in short: "float [1, 64]"."""
    shapes = args.get("output_type_shape")
    if not isinstance(shapes, list):
        return ""
    return ", ".join(f"{kind} {shape}" for entry in shapes for kind, shape in entry.items())
