"""Measures the agent beside its peers and against its aims; JSON on standard output, a table on standard error.

A piece that is done is kept in the work folder: a run that was ended goes on with the next one. A piece is measured
again where the checkout, the machine or the options are others, or with `--again`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.agent.comparison import compare
from benchmarks.agent.footprint import measure_footprints
from benchmarks.agent.kept import Kept
from benchmarks.agent.recovery import measure_recoveries
from benchmarks.agent.report import AgentResults, format_markdown, judge
from benchmarks.agent.soak import measure_soak
from benchmarks.agent.throughput import measure_throughput
from benchmarks.agent_environment import make_agent_environment
from benchmarks.child import BenchmarkError
from benchmarks.machine import read_machine
from benchmarks.start import measure_starts
from drupelet_shared.files import write_atomically

EXIT_MISSED = 1

Piece = Callable[[Path, argparse.Namespace], Any]


def main() -> int:
    """Run the pieces that were asked for; with `--check`, 1 if an aim was missed or a piece failed."""
    options = _parser().parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    results = AgentResults(machine=read_machine())
    kept = Kept(options.work, quick=options.quick, soak_minutes=options.soak_minutes, load=options.load)
    with tempfile.TemporaryDirectory(prefix="bench-agent-") as folder:
        for name in options.only or PIECES:
            _run(name, results, Path(folder), options, kept)
    targets = judge(results)
    report = json.dumps({**asdict(results), "targets": [target.as_json() for target in targets]}, indent=2)
    table = format_markdown(results)
    print(report)
    _say(table)
    write_atomically(options.work / "agent.json", f"{report}\n".encode())
    write_atomically(options.work / "agent.md", table.encode())
    missed = bool(results.failures) or not all(target.met for target in targets)
    return EXIT_MISSED if options.check and missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench-agent", description=__doc__)
    parser.add_argument("--only", action="append", choices=PIECES, help="measure this piece; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few samples: shows that it works, and no number")
    parser.add_argument("--without-http", action="store_true", help="leave out MLServer and LitServe")
    parser.add_argument("--soak-minutes", type=float, default=30.0, help="how long the soak lasts")
    parser.add_argument("--load", type=float, default=0.8, help="of what the engine alone does, in the soak")
    parser.add_argument("--agent-python", type=Path, help="interpreter of an environment with the agent alone")
    parser.add_argument("--work", type=Path, default=Path(".bench/agent"), help="what is kept, agent.json and agent.md")
    parser.add_argument("--again", action="store_true", help="measure what is kept again")
    parser.add_argument("--check", action="store_true", help="exit with 1 if an aim is missed")
    return parser


def _run(name: str, results: AgentResults, folder: Path, options: argparse.Namespace, kept: Kept) -> None:
    field, measure = PIECES[name]
    found = None if options.again else kept.recall(name, field)
    if found is not None:
        _say(f"{name}: kept from an earlier run")
        setattr(results, field, found)
        return
    _say(f"{name}: measuring")
    start_s = time.monotonic()
    try:
        found = measure(folder / name, options)
    # A piece that fails in whatever way must not take the other pieces' numbers with it.
    except (BenchmarkError, AssertionError, OSError, RuntimeError) as error:
        results.failures[name] = f"{type(error).__name__}: {error}"
        _say(f"{name}: failed: {error}")
        return
    setattr(results, field, found)
    kept.keep(name, found)
    _say(f"{name}: done in {time.monotonic() - start_s:.0f} s")


def _throughput(folder: Path, options: argparse.Namespace) -> object:
    turns, seconds = (2, 2.0) if options.quick else (8, 10.0)
    return measure_throughput(folder, turns=turns, seconds=seconds)


def _comparison(folder: Path, options: argparse.Namespace) -> object:
    blocks, requests = (2, 5) if options.quick else (30, 20)
    return compare(folder, blocks=blocks, requests_a_block=requests, with_http=not options.without_http)


def _memory(folder: Path, options: argparse.Namespace) -> object:
    python = options.agent_python
    if python is None and not options.quick:
        python = make_agent_environment(folder.with_name("agent-environment"))
    return measure_footprints(folder, agent_python=python, with_http=not options.without_http)


def _start(folder: Path, _: argparse.Namespace) -> object:
    return measure_starts(folder)


def _recovery(folder: Path, options: argparse.Namespace) -> object:
    return measure_recoveries(folder, kills=3 if options.quick else 20)


def _soak(folder: Path, options: argparse.Namespace) -> object:
    minutes = min(options.soak_minutes, 1.0) if options.quick else options.soak_minutes
    return measure_soak(folder, minutes=minutes, load=options.load, say=_say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# The member of the results that each fills.
PIECES: dict[str, tuple[str, Piece]] = {
    "throughput": ("throughput", _throughput),
    "comparison": ("comparison", _comparison),
    "memory": ("footprints", _memory),
    "start": ("start_s", _start),
    "recovery": ("recovery_s", _recovery),
    "soak": ("soak", _soak),
}


if __name__ == "__main__":
    sys.exit(main())
