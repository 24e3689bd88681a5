"""`make mutants`: prints the mutation score of each folder as JSON, and the surviving mutants."""

from __future__ import annotations

import argparse
import json
import queue
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from mutation.mutants import Mutant, list_mutants
from mutation.running import Outcome, Workspace
from mutation.targets import TARGETS, Target
from support.source.tree import REPOSITORY


def main() -> None:
    """Try the mutants of the chosen folders and print the result."""
    options = _parse_options()
    chosen = options.only or list(TARGETS)
    results = {}
    for name in chosen:
        target = TARGETS[name]
        mutants = _sample(target, count=options.sample, seed=options.seed)
        seconds = None if options.minutes is None else options.minutes * 60 / len(chosen)
        results[name] = _try_mutants(name, target, mutants, jobs=options.jobs, limit_s=seconds)
    json.dump(results, sys.stdout, indent=2)
    print()


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants ARGS=", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(TARGETS), help="folders to mutate (default: all)")
    parser.add_argument("--sample", type=int, metavar="N", help="try N mutants of each folder, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="stop after this time; folders share it equally")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tried in parallel (default: %(default)s)")
    return parser.parse_args()


def _sample(target: Target, *, count: int | None, seed: int) -> list[Mutant]:
    root = REPOSITORY / target.root
    mutants = [
        mutant
        for module in target.modules()
        for mutant in list_mutants(module, (root / module).read_text(encoding="utf-8"))
    ]
    # In random order even without a count, so that a run that is out of time has tried a fair sample.
    random.Random(seed).shuffle(mutants)
    return mutants[:count]


def _try_mutants(
    name: str, target: Target, mutants: list[Mutant], *, jobs: int, limit_s: float | None
) -> dict[str, object]:
    outcomes: list[Outcome | None] = []
    with tempfile.TemporaryDirectory(prefix="drupelet-mutants-") as folder, ExitStack() as stack:
        workspaces: queue.Queue[Workspace] = queue.Queue()
        first = stack.enter_context(Workspace(Path(folder) / "0", target))
        print(f"{name}: tests take {first.measure():.1f} s, {len(mutants)} mutants", file=sys.stderr)
        workspaces.put(first)
        for number in range(1, jobs):
            workspace = stack.enter_context(Workspace(Path(folder) / str(number), target))
            workspace.use_timeout_of(first)
            workspaces.put(workspace)
        deadline = None if limit_s is None else time.monotonic() + limit_s

        def try_mutant(mutant: Mutant) -> Outcome | None:
            if deadline is not None and time.monotonic() > deadline:
                return None
            workspace = workspaces.get()
            try:
                outcome = workspace.test(mutant)
            finally:
                workspaces.put(workspace)
            if outcome is not Outcome.KILLED:
                print(f"{name}: {outcome.value}: {_describe(mutant)}", file=sys.stderr)
            return outcome

        with ThreadPoolExecutor(jobs) as pool:
            outcomes += pool.map(try_mutant, mutants)
    return _summarize(mutants, outcomes)


def _summarize(mutants: list[Mutant], outcomes: list[Outcome | None]) -> dict[str, object]:
    survivors = [mutant for mutant, outcome in zip(mutants, outcomes, strict=True) if outcome is Outcome.SURVIVED]
    tried = len(outcomes) - outcomes.count(None)
    killed = tried - len(survivors)
    return {
        "mutants": len(mutants),
        "tried": tried,
        "killed": killed,
        "timed_out": outcomes.count(Outcome.TIMED_OUT),
        "score": round(killed / tried, 3) if tried else None,
        "survivors": sorted(_describe(mutant) for mutant in survivors),
    }


def _describe(mutant: Mutant) -> str:
    return f"{mutant.module}:{mutant.line} {mutant.operator.partition('/')[2]}"


if __name__ == "__main__":
    main()
