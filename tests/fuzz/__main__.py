"""`python -m fuzz`: many inputs for the targets that are named, or for all; JSON on standard output."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from fuzz.runner import Report, limit_memory, run
from fuzz.targets import TARGETS


def main() -> int:
    """Run each target; 1 if one of them has a fault."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="default: all of them")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="for each target (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same inputs")
    parser.add_argument("--keep", type=Path, default=Path(".fuzz"), help="where inputs go that break a target")
    options = parser.parse_args()
    limit_memory()
    reports = [
        run(TARGETS[name], inputs=options.inputs, seed=options.seed, keep=options.keep, progress=_say)
        for name in options.targets or TARGETS
    ]
    sys.stdout.write(json.dumps([asdict(report) for report in reports], indent=2) + "\n")
    return 1 if any(report.faults for report in reports) else 0


def _say(report: Report) -> None:
    if not report.inputs % 100_000:
        faults = sum(report.faults.values())
        sys.stderr.write(f"{report.target}: {report.inputs} inputs, {report.taken} taken, {faults} faults" + "\n")


if __name__ == "__main__":
    sys.exit(main())
