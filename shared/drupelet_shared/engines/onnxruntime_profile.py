"""What ONNX Runtime's profiler wrote, as the time of each operator; the runtime itself is not needed to read it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drupelet_shared.contract.commands import OperatorTime
from drupelet_shared.errors import EngineError

_KERNEL = "_kernel_time"
_RUN = "model_run"
# Their time contains that of the operators in their subgraphs.
_CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
_MICROSECONDS_PER_MS = 1000

Event = Mapping[str, Any]
_Path = tuple[str, ...]


@dataclass(slots=True)
class _Spent:
    """What one operator took in all runs together."""

    kind: str
    output: str
    total_us: int = 0
    inside_us: int = 0
    calls: int = 0
    inside: dict[_Path, None] = field(default_factory=dict)


def read_operators(file: Path, *, runs: int) -> tuple[OperatorTime, ...]:
    """Return the operators of a profile in the order they ran, each with its mean time in one inference.

    Args:
        file: ONNX Runtime's file.
        runs: How many inferences at the end of it count; those before were to warm up.

    Raises:
        EngineError: The file is not a profile of ONNX Runtime, or has fewer inferences.
    """
    kept: deque[list[Event]] = deque(maxlen=runs)
    pending: list[Event] = []
    for event in _read_events(file):
        if event.get("cat") == "Node" and str(event["name"]).endswith(_KERNEL):
            pending.append(event)
        elif event["name"] == _RUN:
            kept.append(pending)
            pending = []
    if len(kept) < runs:
        raise EngineError(f"profile {file.name} has {len(kept)} inferences: expected at least {runs}")
    spent: dict[_Path, _Spent] = {}
    for run in kept:
        _add_run(spent, run)
    positions = {path: position for position, path in enumerate(spent)}
    return tuple(_operator(path, operator, positions, runs) for path, operator in spent.items())


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


def _add_run(spent: dict[_Path, _Spent], run: Sequence[Event]) -> None:
    # Of two that start in the same microsecond the longer one contains the other.
    around: list[tuple[int, _Path]] = []
    for event in sorted(run, key=lambda event: (event["ts"], -event["dur"])):
        kind, name = _name(event)
        while around and event["ts"] >= around[-1][0]:
            around.pop()
        path = (*(around[-1][1] if around else ()), name)
        operator = spent.setdefault(path, _Spent(kind, _output(event["args"])))
        operator.total_us += event["dur"]
        operator.calls += 1
        if around:
            spent[around[-1][1]].inside_us += event["dur"]
        if kind in _CONTROL_FLOW:
            around.append((event["ts"] + event["dur"], path))


def _operator(path: _Path, operator: _Spent, positions: Mapping[_Path, int], runs: int) -> OperatorTime:
    return OperatorTime(
        name=path[-1],
        type=operator.kind,
        output=operator.output or None,
        calls=operator.calls / runs,
        mean_ms=operator.total_us / runs / _MICROSECONDS_PER_MS,
        self_ms=max(0, operator.total_us - operator.inside_us) / runs / _MICROSECONDS_PER_MS,
        parent=positions.get(path[:-1]),
    )


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
