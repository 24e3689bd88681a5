"""The numbers of all rows, taken side by side at the end: a time means something only beside the others' times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.compiler.emulated import Emulator
from benchmarks.compiler.rows import Row
from benchmarks.compiler.setting import Setting
from drupelet_host.data.dataset import Dataset
from drupelet_host.data.samples import split_dataset
from drupelet_host.evaluation.latency import Effort, compare_latency
from drupelet_host.evaluation.memory import measure_peak_memory
from drupelet_host.evaluation.scoring import evaluate_session
from drupelet_shared.engines.base import Session, Tensors
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.engines.timing import Timing

THREADS = (1, 2)
# The emulated interpreter has this engine alone.
_EMULATED = "onnxruntime"
_EFFORT = Effort(rounds=15, seconds=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One file in one engine.

    Attributes:
        row: The row's name.
        title: What to call it.
        engine: What ran it.
        top1: On the test images.
        size_bytes: Of the file.
        timings: By the number of threads.
        peak_memory_bytes: Of a process that loads and runs it, interpreter and engine included.
        wall_minutes: What making it took.
        cpu_minutes: The same in processor time.
        instructions: Of one inference on the emulated Cortex-A72, where that was asked for.
    """

    row: str
    title: str
    engine: str
    top1: float
    size_bytes: int
    timings: Mapping[int, Timing]
    peak_memory_bytes: int
    wall_minutes: float
    cpu_minutes: float
    instructions: int | None = None


def measure_rows(
    rows: Sequence[Row], test: Dataset, *, setting: Setting, emulator: Emulator | None = None
) -> list[Line]:
    """Every file of every row."""
    files = [(row, engine, path) for row in rows for engine, path in row.model_paths(setting).items()]
    timings = {threads: _time_all(files, test, threads=threads) for threads in THREADS}
    return [
        Line(
            row=row.name,
            title=row.title,
            engine=engine,
            top1=_score(path, test, engine=engine),
            size_bytes=path.stat().st_size,
            timings={threads: timings[threads][str(path)] for threads in THREADS},
            peak_memory_bytes=measure_peak_memory(path, _feed(path, test, engine=engine), engine=engine, threads=1),
            wall_minutes=row.wall_minutes,
            cpu_minutes=row.cpu_minutes,
            instructions=emulator.count(path) if emulator and engine == _EMULATED else None,
        )
        for row, engine, path in files
    ]


def _time_all(files: Sequence[tuple[Row, str, Path]], test: Dataset, *, threads: int) -> dict[str, Timing]:
    """All files of an engine in turns; an engine's inputs may have names of their own."""
    found: dict[str, Timing] = {}
    for engine in dict.fromkeys(engine for _, engine, _ in files):
        sessions = {
            str(path): load_engine(engine).load(path, threads=threads) for _, other, path in files if other == engine
        }
        by_input: dict[str, dict[str, Session]] = {}
        for path, session in sessions.items():
            by_input.setdefault(session.inputs[0].name, {})[path] = session
        for name, together in by_input.items():
            found |= compare_latency(together, {name: test.inputs[:1]}, effort=_EFFORT)
    return found


def _score(path: Path, test: Dataset, *, engine: str) -> float:
    session = load_engine(engine).load(path, threads=1)
    return evaluate_session(session, split_dataset(test, input_name=session.inputs[0].name))


def _feed(path: Path, test: Dataset, *, engine: str) -> Tensors:
    session = load_engine(engine).load(path, threads=1)
    return {session.inputs[0].name: test.inputs[:1]}
