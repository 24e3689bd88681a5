"""The numbers of all files, taken side by side at the end: a time means something only beside the others' times."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.compiler.emulated import Emulator
from benchmarks.compiler.rows import Row
from benchmarks.compiler.setting import Setting, name_machine
from drupelet_host.compiler.lineage import digest_file
from drupelet_host.data.dataset import Dataset
from drupelet_host.data.samples import split_dataset
from drupelet_host.evaluation.memory import measure_peak_memory
from drupelet_host.evaluation.scoring import evaluate_session
from drupelet_host.latency.engines import engine_of
from drupelet_host.latency.workstation import TimingBudget, compare_latency
from drupelet_shared.engines.base import Session
from drupelet_shared.engines.files import model_size_bytes
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.files import write_atomically
from drupelet_shared.timing import Timing

THREADS = (1, 2)
_BUDGET = TimingBudget(rounds=11, seconds=0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One file in its engine.

    Attributes:
        row: The row's name.
        title: What to call it.
        variant: Which of the row's files.
        engine: What ran it.
        machine: What measured it.
        digest: The file's SHA-256.
        top1: On the test images.
        size_bytes: Of the file, or of both.
        timings: By the number of threads.
        peak_memory_bytes: Of a process that loads and runs it, interpreter and engine included.
        wall_minutes: What making the row took.
        instructions: Of one inference on the emulated Cortex-A72, where that was asked for.
    """

    row: str
    title: str
    variant: str
    engine: str
    machine: str
    digest: str
    top1: float
    size_bytes: int
    timings: Mapping[int, Timing]
    peak_memory_bytes: int
    wall_minutes: float
    instructions: int | None = None

    @property
    def p50_ms(self) -> float:
        """At one thread."""
        return self.timings[1].p50_ms


@dataclass(frozen=True, slots=True)
class File:
    """A file of a row."""

    row: Row
    variant: str
    path: Path

    @property
    def engine(self) -> str:
        """What runs it."""
        return engine_of(self.path)

    @property
    def digest(self) -> str:
        """Of what was measured under this name: of the file as the row was made, else as it is."""
        return self.row.digests.get(self.variant) or digest_file(self.path)


def measure_files(files: Sequence[File], test: Dataset, *, setting: Setting, emulator: Emulator | None) -> list[Line]:
    """Every file; an engine whose files were all measured before, on whatever machine, keeps those numbers.

    One file of an engine that is new is reason to measure all of that engine again: times are compared side by side.
    """
    kept = {(line.row, line.variant, line.digest): line for line in _load(setting)}
    lines: list[Line] = []
    for engine in dict.fromkeys(file.engine for file in files):
        some = [file for file in files if file.engine == engine]
        found = [kept.get((file.row.name, file.variant, file.digest)) for file in some]
        known = [line for line in found if line is not None]
        lines += known if len(known) == len(some) else _measure(some, test, engine=engine)
    if emulator:
        paths = {(file.row.name, file.variant): file.path for file in files}
        lines = [_count(line, paths[line.row, line.variant], emulator) for line in lines]
    _save(lines, setting)
    return lines


def _measure(files: Sequence[File], test: Dataset, *, engine: str) -> list[Line]:
    # One after another and before the rest: a time means something only on an idle machine.
    timings = {threads: _time_all(files, test, engine=engine, threads=threads) for threads in THREADS}
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        scores = list(pool.map(lambda file: _score(file.path, test, engine=engine), files))
        peaks = list(pool.map(lambda file: _measure_memory(file.path, test, engine=engine), files))
    return [
        Line(
            row=file.row.name,
            title=file.row.title,
            variant=file.variant,
            engine=engine,
            machine=name_machine(),
            digest=file.digest,
            top1=top1,
            size_bytes=model_size_bytes(file.path),
            timings={threads: timings[threads][str(file.path)] for threads in THREADS},
            peak_memory_bytes=peak,
            wall_minutes=file.row.wall_minutes,
        )
        for file, top1, peak in zip(files, scores, peaks, strict=True)
    ]


def _time_all(files: Sequence[File], test: Dataset, *, engine: str, threads: int) -> dict[str, Timing]:
    """All files in turns; an engine's inputs may have names of their own."""
    by_input: dict[str, dict[str, Session]] = {}
    for file in files:
        session = load_engine(engine).load(file.path, threads=threads)
        by_input.setdefault(session.inputs[0].name, {})[str(file.path)] = session
    found: dict[str, Timing] = {}
    for name, together in by_input.items():
        found |= compare_latency(together, {name: test.inputs[:1]}, budget=_BUDGET)
    return found


def _score(path: Path, test: Dataset, *, engine: str) -> float:
    session = load_engine(engine).load(path, threads=1)
    return evaluate_session(session, split_dataset(test, input_name=session.inputs[0].name))


def _measure_memory(path: Path, test: Dataset, *, engine: str) -> int:
    session = load_engine(engine).load(path, threads=1)
    feed = {session.inputs[0].name: test.inputs[:1]}
    return measure_peak_memory(path, feed, engine=engine, threads=1)


def _count(line: Line, path: Path, emulator: Emulator) -> Line:
    return line if line.instructions is not None else replace(line, instructions=emulator.count(path, line.engine))


def _save(lines: Sequence[Line], setting: Setting) -> None:
    write_atomically(_path(setting), json.dumps([asdict(line) for line in lines], indent=2).encode())


def _load(setting: Setting) -> list[Line]:
    path = _path(setting)
    return [_parse(entry) for entry in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []


def _parse(entry: dict[str, Any]) -> Line:
    timings = {int(threads): Timing(**values) for threads, values in entry["timings"].items()}
    return Line(**{**entry, "timings": timings})


def _path(setting: Setting) -> Path:
    return setting.work / "measured.json"
