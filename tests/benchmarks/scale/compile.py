"""Times a compile in one process, in two and on Ray, and while workers are killed; JSON on standard output.

Every compile must make the same models: the digests of the model after each pass are compared.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import multiprocessing.pool
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import read_machine
from benchmarks.scale.record import record
from drupelet_host.compiler.compile import compile_recipe
from drupelet_host.compiler.state import CompileState
from drupelet_host.compute.backend import ComputeBackend
from drupelet_host.compute.choice import make_backend
from drupelet_host.compute.local_pool import LocalPool
from drupelet_host.compute.ray_cluster import RayCluster
from drupelet_host.recipe.compute import ComputeSection
from drupelet_host.recipe.schema import Recipe, parse_recipe

_DIGITS = Path(__file__).resolve().parents[3] / "host/examples/digits"
_PLACES = ("local:1", "local:2", "ray:2")
# The passes whose work is tasks; export and packaging are one piece each.
_PARALLEL = ("importance", "sensitivity", "prune", "quantize_ncnn", "quantize_static", "mix_precision")
_KILL_EVERY_S = 2.0
_SPIN_ROUNDS = 3


@dataclass(slots=True)
class Passes:
    """An observer that notes how long each pass took."""

    seconds: dict[str, float] = field(default_factory=dict)

    def pass_started(self, name: str, *, position: int, count: int) -> None:
        print(f"  {position}/{count} {name}", file=sys.stderr, flush=True)

    def progressed(self, what: str, *, done: int, total: int) -> None:
        pass

    def decided(self, message: str) -> None:
        pass

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:  # noqa: ARG002 - the protocol's
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


def main() -> int:
    """Run all, or with `--one` a single compile; 1 if the models differ."""
    arguments = _parser().parse_args()
    if arguments.one:
        print(json.dumps(_measure(arguments)))
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-compile-") as folder:
        recipe = arguments.recipe or _prepare_digits(Path(folder))
        rows = [_run_apart(arguments, recipe, place, kills=0) for place in arguments.places]
        if arguments.kills:
            rows.append(_run_apart(arguments, recipe, "local:2", kills=arguments.kills))
    ceiling = _measure_ceiling()
    same = len({json.dumps(row["models"]) for row in rows}) == 1
    report: dict[str, Any] = {
        "machine": read_machine(),
        "recipe": recipe.parent.name,
        "beam": arguments.beam,
        "trials": arguments.trials,
        "rows": rows,
    }
    report |= {"same_models": same, "two_cores_allow": ceiling, "efficiency": _efficiency(rows, ceiling)}
    print(json.dumps(report, indent=2))
    if arguments.record:
        record(f"compile_{report['recipe']}", report)
    return 0 if same else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.scale.compile", description=__doc__)
    parser.add_argument("--recipe", type=Path, help="recipe to compile; the digits example by default")
    parser.add_argument("--beam", type=int, default=2, help="paths of the search")
    parser.add_argument("--trials", type=int, default=4, help="candidates of each path")
    parser.add_argument("--kills", type=int, default=0, help="workers killed at random during one more compile")
    parser.add_argument("--places", nargs="+", default=list(_PLACES), help="where to compile")
    parser.add_argument("--record", action="store_true", help="write the result to results/scale.json")
    parser.add_argument("--one", metavar="PLACE", help=argparse.SUPPRESS)
    return parser


def _prepare_digits(folder: Path) -> Path:
    project = folder / "digits"
    shutil.copytree(_DIGITS, project, ignore=shutil.ignore_patterns("build", "__pycache__"))
    subprocess.run([sys.executable, "train.py"], cwd=project, check=True, stdout=sys.stderr)
    return project / "recipe.toml"


def _run_apart(arguments: argparse.Namespace, recipe: Path, place: str, *, kills: int) -> dict[str, Any]:
    """Compile in a process of its own, which has loaded nothing yet."""
    print(f"{place}{f', {kills} kills' if kills else ''}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.scale.compile", "--recipe", str(recipe), "--one", place]
    command += ["--beam", str(arguments.beam), "--trials", str(arguments.trials), "--kills", str(kills)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    place, kills = arguments.one, arguments.kills
    recipe, passes = _load(arguments.recipe, beam=arguments.beam, trials=arguments.trials), Passes()
    with tempfile.TemporaryDirectory(prefix="bench-compile-") as folder:
        output = recipe.output.model_copy(update={"folder": Path(folder)})
        recipe = recipe.model_copy(update={"output": output})
        start = time.perf_counter()
        with _make(place, kills=kills) as backend:
            state, killed = _compile(recipe, backend, passes, kills=kills)
        seconds = time.perf_counter() - start
    return {
        "place": place,
        "kills": killed,
        "seconds": round(seconds, 2),
        "parallel_seconds": round(sum(passes.seconds.get(name, 0.0) for name in _PARALLEL), 2),
        "passes": {name: round(value, 2) for name, value in passes.seconds.items()},
        "models": [record.digest for record in state.lineage],
    }


def _load(path: Path, *, beam: int, trials: int) -> Recipe:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    document["prune"] = {**document.get("prune", {}), "beam": beam, "max_trials": trials}
    return parse_recipe(document, folder=path.parent)


def _make(place: str, *, kills: int) -> ComputeBackend:
    if place.startswith("ray:"):
        return RayCluster(retries=5, workers=int(place.removeprefix("ray:")))
    if kills:
        return LocalPool(2, retries=kills)
    return make_backend(ComputeSection(on=place))


def _compile(recipe: Recipe, backend: ComputeBackend, passes: Passes, *, kills: int) -> tuple[CompileState, int]:
    """Return the state, and how many workers were killed meanwhile."""
    is_over, count = threading.Event(), [0]

    def kill() -> None:
        choice = random.Random(0)
        while isinstance(backend, LocalPool) and count[0] < kills and not is_over.wait(_KILL_EVERY_S):
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(choice.choice(backend.process_ids), signal.SIGKILL)
                count[0] += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        return compile_recipe(recipe, observer=passes, compute=backend), count[0]
    finally:
        is_over.set()
        killer.join()


def _measure_ceiling() -> float:
    """Return how many times as much two processes compute as one in the same time, at best of several rounds.

    Two processors that share one core, or a machine with other work, do less than twice as much.
    """
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_spin, [1, 1])
        alone_s = min(_timed(pool, 1) for _ in range(_SPIN_ROUNDS))
        together_s = min(_timed(pool, 2) for _ in range(_SPIN_ROUNDS))
    return round(2 * alone_s / together_s, 3)


def _timed(pool: multiprocessing.pool.Pool, count: int) -> float:
    start = time.perf_counter()
    pool.map(_spin, [150] * count, chunksize=1)
    return time.perf_counter() - start


def _spin(rounds: int) -> float:
    """Multiply matrices on one thread, as most of a compile does."""
    values = np.random.default_rng(0).standard_normal((256, 256))
    for _ in range(rounds):
        values = values @ values
        values /= np.abs(values).max()
    return float(values[0, 0])


def _efficiency(rows: list[dict[str, Any]], ceiling: float) -> dict[str, float]:
    """Return how much of what two processes can gain each place with two reaches in the parallel passes."""
    alone = next((row["parallel_seconds"] for row in rows if row["place"] == "local:1"), None)
    if alone is None:
        return {}
    return {
        row["place"]: round(alone / row["parallel_seconds"] / ceiling, 3)
        for row in rows
        if row["place"] != "local:1" and not row["kills"]
    }


if __name__ == "__main__":
    sys.exit(main())
