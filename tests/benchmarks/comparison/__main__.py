"""`make bench`: every benchmark beside others, one stage after the other, and the page and pictures of their results.

What is done is kept in the work folder: a run that was ended goes on. Times count on a quiet machine alone; each result
says the load. Results go to tests/benchmarks/results, the page to shared/docs/comparison.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.child import BenchmarkError
from benchmarks.comparison.page import PAGE, RESULTS, render_page
from benchmarks.comparison.stages import Stage, forget_stage, run_stage
from benchmarks.instructions.emulator import FOLDER
from benchmarks.pictures.outputs import write_outputs
from drupelet_shared.files import write_atomically

_ROOT = PAGE.parents[2]


def main() -> int:
    """Run what is not done, then write the page; 1 if a stage failed."""
    options = _parser().parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    stages = _stages(work, options)
    failed = False
    if not options.render:
        for name in options.again:
            forget_stage(stages[name], work=work)
        for name in options.only or list(stages):
            try:
                run_stage(stages[name], work=work, results=RESULTS, say=_say)
            except BenchmarkError as error:
                failed = True
                _say(f"error: {error}")
    write_atomically(PAGE, render_page().encode())
    write_outputs()
    _say(f"{PAGE.relative_to(_ROOT)} is written")
    return int(failed)


def _stages(work: Path, options: argparse.Namespace) -> dict[str, Stage]:
    here, litert = sys.executable, str(options.litert_python)
    quick, soak = (("--quick",), ("--soak-minutes", "1")) if options.quick else ((), ())

    def engines(name: str, part: str, *more: str) -> Stage:
        folder, report = work / "engines", work / f"{name}.json"
        command = (here, "-m", "benchmarks.engines", part, "--work", str(folder), "--output", str(report))
        return Stage(name, ((*command, "--litert-python", litert, *more),), report, (f"engines/{part}-*.json",))

    agent = (here, "-m", "benchmarks.agent", "--work", str(work / "agent"), *soak, *quick)
    compiler = ("-m", "benchmarks.compiler", "--data", str(options.data), "--work", str(work / "compiler"), "--emulate")
    stages = [
        engines("instructions", "instructions", "--emulator", str(options.emulator)),
        engines("modelled", "modelled", "--emulator", str(options.emulator)),
        engines("engines", "times", *quick),
        Stage("agent", (agent,), work / "agent/agent.json", ("agent/*.json",)),
        Stage(
            "compiler",
            # LiteRT's converter lives in an environment of its own, and adds to what the first one made.
            ((here, *compiler, "--ncnn"), (litert, *compiler, "--rows", "a", "--ncnn", "--litert")),
            work / "compiler/report.json",
            ("compiler/*.json",),
        ),
    ]
    return {stage.name: stage for stage in stages}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    names = ("instructions", "modelled", "engines", "agent", "compiler")
    parser.add_argument("--only", action="append", choices=names, help="this stage; may be repeated")
    parser.add_argument("--again", action="append", choices=names, default=[], help="repeat it from its beginning")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page")
    parser.add_argument("--quick", action="store_true", help="short measurements: show that it works, and no number")
    parser.add_argument("--work", type=Path, default=_ROOT / ".bench", help="what is kept (default: %(default)s)")
    parser.add_argument(
        "--data", type=Path, default=_ROOT / "shared/data/fashion-mnist", help="for the compiler's stage"
    )
    parser.add_argument("--emulator", type=Path, default=FOLDER, help="default: %(default)s")
    parser.add_argument("--litert-python", type=Path, default=_ROOT / ".venv/litert/bin/python")
    return parser


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
