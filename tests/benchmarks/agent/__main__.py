"""`python -m benchmarks.agent`: the agent beside its peers and against its aims; JSON on standard output."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.agent.comparison import compare
from benchmarks.agent.footprint import measure_footprints
from benchmarks.agent.recovery import measure_recoveries
from benchmarks.agent.report import AgentResults, format_markdown, judge
from benchmarks.agent.soak import measure_soak
from benchmarks.agent.throughput import measure_throughput
from benchmarks.agent_environment import make_agent_environment
from benchmarks.child import BenchmarkError
from benchmarks.machine import read_machine
from benchmarks.start import measure_starts

EXIT_MISSED = 1

Piece = Callable[[AgentResults, Path, argparse.Namespace], None]


def main() -> int:
    """Run the pieces that were asked for; with `--check`, 1 if an aim was missed or a piece failed."""
    options = _parser().parse_args()
    results = AgentResults(machine=read_machine())
    with tempfile.TemporaryDirectory(prefix="bench-agent-") as folder:
        for name in options.only or [name for name in PIECES if name != "soak" or options.soak_minutes]:
            _run(name, results, Path(folder), options)
    targets = judge(results)
    report = json.dumps({**asdict(results), "targets": [target.as_json() for target in targets]}, indent=2)
    table = format_markdown(results)
    print(report)
    _say(table)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "agent.json").write_text(report + "\n", encoding="utf-8")
        (options.output / "agent.md").write_text(table, encoding="utf-8")
    missed = bool(results.failures) or not all(target.met for target in targets)
    return EXIT_MISSED if options.check and missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench-agent", description=__doc__)
    parser.add_argument("--only", action="append", choices=PIECES, help="measure this piece; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few samples: shows that it works, and no number")
    parser.add_argument("--without-http", action="store_true", help="leave out MLServer and LitServe")
    parser.add_argument("--soak-minutes", type=float, default=0.0, help="how long the soak lasts; none without it")
    parser.add_argument("--agent-python", type=Path, help="interpreter of an environment with the agent alone")
    parser.add_argument("--output", type=Path, help="folder for agent.json and agent.md as well")
    parser.add_argument("--check", action="store_true", help="exit with 1 if an aim is missed")
    return parser


def _run(name: str, results: AgentResults, folder: Path, options: argparse.Namespace) -> None:
    _say(f"{name}: measuring")
    start_s = time.monotonic()
    try:
        PIECES[name](results, folder / name, options)
    # A piece that fails in whatever way must not take the other pieces' numbers with it.
    except (BenchmarkError, AssertionError, OSError, RuntimeError) as error:
        results.failures[name] = f"{type(error).__name__}: {error}"
        _say(f"{name}: failed: {error}")
    else:
        _say(f"{name}: done in {time.monotonic() - start_s:.0f} s")


def _throughput(results: AgentResults, folder: Path, options: argparse.Namespace) -> None:
    turns, seconds = (2, 2.0) if options.quick else (8, 10.0)
    results.throughput = measure_throughput(folder, turns=turns, seconds=seconds)


def _comparison(results: AgentResults, folder: Path, options: argparse.Namespace) -> None:
    blocks, requests = (2, 5) if options.quick else (20, 20)
    results.comparison = compare(folder, blocks=blocks, requests_a_block=requests, with_http=not options.without_http)


def _memory(results: AgentResults, folder: Path, options: argparse.Namespace) -> None:
    python = options.agent_python
    if python is None and not options.quick:
        python = make_agent_environment(folder.with_name("agent-environment"))
    results.footprints = measure_footprints(folder, agent_python=python, with_http=not options.without_http)


def _start(results: AgentResults, folder: Path, _: argparse.Namespace) -> None:
    results.start_s = measure_starts(folder)


def _recovery(results: AgentResults, folder: Path, options: argparse.Namespace) -> None:
    results.recovery_s = measure_recoveries(folder, kills=3 if options.quick else 20)


def _soak(results: AgentResults, folder: Path, options: argparse.Namespace) -> None:
    results.soak = measure_soak(folder, minutes=options.soak_minutes or 1.0, say=_say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


PIECES: dict[str, Piece] = {
    "throughput": _throughput,
    "comparison": _comparison,
    "memory": _memory,
    "start": _start,
    "recovery": _recovery,
    "soak": _soak,
}


if __name__ == "__main__":
    sys.exit(main())
