"""The same two networks in ONNX Runtime, LiteRT, ncnn and MNN: times on this machine, instructions on an emulated Pi 4.

With the times come the size of the files, and what loading them takes the agent's worker in time and memory.

What is done is kept in the work folder: a run that was ended goes on, and removing a file there does its part again.
JSON on standard output. Times are this machine's and no device's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.engines.agent_worker import measure_workers
from benchmarks.engines.counting import EngineInstructions, count_model
from benchmarks.engines.environments import ROOT, host_python, runtime_versions
from benchmarks.engines.left_out import LEFT_OUT
from benchmarks.engines.modelling import MODELLED, EngineEstimate, model_time
from benchmarks.engines.models import Case, Model, make_cases
from benchmarks.engines.timing import THREADS, Effort, time_case
from benchmarks.instructions.emulator import FOLDER, EmulatedPi
from benchmarks.machine import read_emulator, read_machine
from drupelet_shared.files import write_atomically

_QUICK = Effort(rounds=2, seconds=0.2)


def main() -> None:
    """Do the part that was asked for."""
    options = _parser().parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    machine = read_machine()
    cases = make_cases(work, litert_python=options.litert_python, say=_say)
    report: dict[str, object] = {
        "machine": machine,
        "versions": runtime_versions(),
        "networks": {case.network: {"parameters": case.parameters} for case in cases},
        "left_out": LEFT_OUT,
    }
    if options.part == "times":
        effort = _QUICK if options.quick else Effort(rounds=options.rounds, seconds=options.seconds)
        report |= {"effort": asdict(effort), "workers": _measure_workers(cases, work, effort)}
        report |= {"times": _time(cases, work, effort)}
    else:
        pi = EmulatedPi(folder=options.emulator.resolve())
        pi.prepare()
        report |= _count(cases, work, pi) if options.part == "instructions" else _model(cases, work, pi)
    text = json.dumps(report, indent=2) + "\n"
    print(text, end="")
    if options.output:
        write_atomically(options.output.resolve(), text.encode())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench-engines", description=__doc__)
    parser.add_argument("part", choices=("times", "instructions", "modelled"))
    parser.add_argument("--work", type=Path, default=Path(".bench/engines"), help="what is kept between runs")
    parser.add_argument("--output", type=Path, help="file for the JSON as well")
    parser.add_argument("--rounds", type=int, default=15, help="turns that each model gets (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="short rounds: shows that it works, and no number")
    parser.add_argument("--emulator", type=Path, default=FOLDER, help="default: %(default)s")
    parser.add_argument(
        "--litert-python",
        type=Path,
        default=ROOT / ".venv/litert/bin/python",
        help="interpreter of the environment that `make test-litert` makes",
    )
    return parser


def _time(cases: list[Case], work: Path, effort: Effort) -> list[dict[str, Any]]:
    environments = work / "environments"
    for case in cases:
        for model in case.models:
            host_python(model.runtime, environments)
    found: list[dict[str, Any]] = []
    for case in cases:
        for threads in THREADS:
            where = f"{case.network}, {threads} thread{'s' * (threads > 1)}"

            def measure(case: Case = case, threads: int = threads, where: str = where) -> list[dict[str, Any]]:
                rows = time_case(
                    case,
                    threads=threads,
                    effort=effort,
                    environments=environments,
                    say=lambda text: _say(f"{where}: {text}"),
                )
                return [asdict(row) for row in rows]

            kept = work / f"times-{case.network}-{threads}-{effort.rounds}.json"
            found += _keep(kept, measure)
    return found


def _measure_workers(cases: list[Case], work: Path, effort: Effort) -> list[dict[str, Any]]:
    starts = max(2, effort.rounds // 3)
    found: list[dict[str, Any]] = []
    for case in cases:
        _say(f"{case.network}: the agent's workers, {starts} for each model")

        def measure(case: Case = case) -> list[dict[str, Any]]:
            return [asdict(cost) for cost in measure_workers(case, starts=starts)]

        found += _keep(work / f"times-workers-{case.network}-{starts}.json", measure)
    return found


def _count(cases: list[Case], work: Path, pi: EmulatedPi) -> dict[str, Any]:
    def count(model: Model, case: Case) -> EngineInstructions:
        return count_model(model, case, pi=pi, environments=work / "environments")

    return {"emulator": read_emulator(), "instructions": _each_model(cases, work, "instructions", count)}


def _model(cases: list[Case], work: Path, pi: EmulatedPi) -> dict[str, Any]:
    def estimate(model: Model, case: Case) -> EngineEstimate:
        return model_time(model, case, pi=pi)

    modelled = [
        replace(case, models=tuple(model for model in case.models if (model.runtime, model.precision) in MODELLED))
        for case in cases
    ]
    return {"emulator": read_emulator(), "modelled": _each_model(modelled, work, "modelled", estimate)}


def _each_model(
    cases: list[Case], work: Path, part: str, measure: Callable[[Model, Case], EngineInstructions | EngineEstimate]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for case in cases:
        for model in case.models:
            name = f"{case.network}-{model.runtime}-{model.precision}".replace(" ", "-")
            _say(f"{name}: {part}")

            def rows(model: Model = model, case: Case = case) -> list[dict[str, Any]]:
                return [asdict(measure(model, case))]

            found += _keep(work / f"{part}-{name}.json", rows)
    return found


def _keep(path: Path, measure: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return what the file says, or what is measured now and written there."""
    if not path.is_file():
        write_atomically(path, json.dumps(measure(), indent=2).encode())
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
