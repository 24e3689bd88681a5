"""Measures the path of a request: round trip, memory, start, many clients; JSON on standard output."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.agent_environment import make_agent_environment
from benchmarks.child import BenchmarkError
from benchmarks.machine import read_machine
from benchmarks.many_clients import measure_many_clients
from benchmarks.memory import AGENT_ALONE, DEVELOPMENT, measure_memory
from benchmarks.results import Results, format_table, judge
from benchmarks.round_trip import measure_round_trips
from benchmarks.start import measure_starts

EXIT_OK = 0
EXIT_MISSED = 1

Piece = Callable[[Results, Path, Path | None], None]


def main() -> int:
    """Run the pieces that were asked for; with `--check`, 1 if a target was missed or a piece failed."""
    arguments = _parser().parse_args()
    results = Results(machine=read_machine())
    with tempfile.TemporaryDirectory(prefix="bench-spine-") as folder:
        for name in arguments.only or PIECES:
            _run(name, results, Path(folder), arguments.agent_python)
    targets = judge(results)
    report = {**asdict(results), "targets": [target.as_json() for target in targets]}
    print(json.dumps(report, indent=2))
    print(format_table(targets, results.failures), file=sys.stderr)
    missed = bool(results.failures) or not all(target.met for target in targets)
    return EXIT_MISSED if arguments.check and missed else EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench_spine", description=__doc__)
    parser.add_argument(
        "--agent-python",
        type=Path,
        metavar="FILE",
        help="interpreter of an environment with the agent alone; one is made from this checkout by default",
    )
    parser.add_argument("--only", action="append", choices=PIECES, help="measure this piece; may be repeated")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    return parser


def _run(name: str, results: Results, folder: Path, agent_python: Path | None) -> None:
    _say(f"{name}: measuring")
    start_s = time.monotonic()
    try:
        PIECES[name](results, folder, agent_python)
    # A piece that fails in whatever way must not take the other pieces' numbers with it.
    except (BenchmarkError, AssertionError, OSError, RuntimeError) as error:
        results.failures[name] = f"{type(error).__name__}: {error}"
        _say(f"{name}: failed: {error}")
    else:
        _say(f"{name}: done in {time.monotonic() - start_s:.0f} s")


def _round_trip(results: Results, folder: Path, _: Path | None) -> None:
    results.round_trips = measure_round_trips(folder / "round-trip")


def _memory(results: Results, folder: Path, agent_python: Path | None) -> None:
    results.memory = [measure_memory(folder / "memory-development", environment=DEVELOPMENT)]
    python = agent_python or make_agent_environment(folder / "agent-environment")
    results.memory.append(measure_memory(folder / "memory-agent", environment=AGENT_ALONE, python=python))


def _start(results: Results, folder: Path, _: Path | None) -> None:
    results.start_s = measure_starts(folder / "start")


def _many_clients(results: Results, folder: Path, _: Path | None) -> None:
    results.many_clients = measure_many_clients(folder / "many-clients")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


PIECES: dict[str, Piece] = {
    "round-trip": _round_trip,
    "memory": _memory,
    "start": _start,
    "many-clients": _many_clients,
}


if __name__ == "__main__":
    sys.exit(main())
