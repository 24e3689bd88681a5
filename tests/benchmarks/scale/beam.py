"""Compares a search of one path with a beam on ResNet18 at a small input, point by point; JSON on standard output.

The images are scikit-learn's digits at 3 x 32 x 32, and training and recovery are short, so that it fits in minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import read_machine
from benchmarks.scale.record import record
from drupelet_host.compiler.compile import compile_recipe
from drupelet_host.compute.choice import make_backend
from drupelet_host.recipe.compute import ComputeSection
from drupelet_host.recipe.schema import Recipe, parse_recipe
from drupelet_host.selection.frontier import Point, best_points

_MODEL = Path(__file__).resolve().parents[3] / "host/examples/resnet18/model.py"
_PROJECT = """
import numpy as np
import torch
from resnet import ResNet18
from sklearn.datasets import load_digits


def build():
    return ResNet18(classes=10)


def _samples():
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    images = np.kron(digits.images[order] / 16, np.ones((4, 4))).astype(np.float32)
    return np.repeat(images[:, None], 3, axis=1), digits.target[order].astype(np.int64)


def train():
    inputs, labels = _samples()
    return inputs[500:1140], labels[500:1140]


def validation():
    inputs, labels = _samples()
    return inputs[:500], labels[:500]


def write_weights(epochs):
    torch.manual_seed(0)
    model, (images, labels) = build().train(), map(torch.from_numpy, train())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.save(model.state_dict(), "weights.pt")
"""


def main() -> int:
    """Compile with one path and with several, each in a process of its own; 1 if a point of the beam is worse."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale.beam", description=__doc__)
    parser.add_argument("--beam", type=int, default=4, help="paths of the beam")
    parser.add_argument("--trials", type=int, default=4, help="candidates of each path")
    parser.add_argument("--training-epochs", type=int, default=4, help="epochs of the original")
    parser.add_argument("--on", default="local:2", help="where to compile")
    parser.add_argument("--record", action="store_true", help="write the result to results/scale.json")
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "BEAM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        folder, beam = options.one
        print(json.dumps(_measure(Path(folder), int(beam), options)))
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-beam-") as folder:
        _write_project(Path(folder), epochs=options.training_epochs)
        rows = [_run_apart(Path(folder), beam) for beam in (1, options.beam)]
    report: dict[str, Any] = {
        "machine": read_machine(),
        "network": "ResNet18, 10 classes, input 3 x 32 x 32, 640 training and 500 validation images",
        "training_epochs": options.training_epochs,
        "recovery_epochs": 1,
        "trials_of_a_path": options.trials,
        "rows": rows,
        **_compare(*(row["points"] for row in rows)),
    }
    print(json.dumps(report, indent=2))
    if options.record:
        record("beam_resnet18_small", report)
    return 0 if report["at_least_as_good"] == report["points_of_one_path"] else 1


def _write_project(folder: Path, *, epochs: int) -> None:
    shutil.copy(_MODEL, folder / "resnet.py")
    (folder / "project.py").write_text(_PROJECT, encoding="utf-8")
    command = [sys.executable, "-c", f"import project; project.write_weights({epochs})"]
    subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)


def _run_apart(folder: Path, beam: int) -> dict[str, Any]:
    print(f"beam {beam}", file=sys.stderr, flush=True)
    # The arguments of this process, and what it is one part of.
    command = [sys.executable, "-m", "benchmarks.scale.beam", *sys.argv[1:], "--one", str(folder), str(beam)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def _measure(folder: Path, beam: int, options: argparse.Namespace) -> dict[str, Any]:
    recipe, load, start = _recipe(folder, beam=beam, trials=options.trials), os.getloadavg()[0], time.perf_counter()
    with make_backend(ComputeSection(on=options.on)) as backend:
        state = compile_recipe(recipe, compute=backend)
    assert state.pruning is not None, "the prune pass always leaves a result"
    return {
        "beam": beam,
        "seconds": round(time.perf_counter() - start, 1),
        "load_average": round(load, 1),
        "candidates": len(state.pruning.candidates),
        "points": [_describe(point) for point in best_points(state.pruning.candidates)],
    }


def _recipe(folder: Path, *, beam: int, trials: int) -> Recipe:
    document = {
        "seed": 0,
        "model": {
            "name": "resnet18",
            "version": "1.0.0",
            "release": 1,
            "factory": "project.py:build",
            "weights": "weights.pt",
            "input_shape": [1, 3, 32, 32],
            "labels": [str(number) for number in range(10)],
        },
        "data": {"train": "project.py:train", "validation": "project.py:validation"},
        "constraints": {"max_metric_drop": 0.02},
        "sensitivity": {"ratios": [0.5]},
        "prune": {"beam": beam, "max_trials": trials, "recovery": {"epochs": 1}},
        "quantize": {"samples": 64},
        "output": {"folder": f"package-{beam}"},
    }
    return parse_recipe(document, folder=folder)


def _describe(point: Point) -> dict[str, Any]:
    measured = point.measurement
    return {
        "candidate": point.candidate,
        "variant": point.variant,
        "size_bytes": measured.size_bytes,
        "metric": round(measured.metric, 4),
    }


def _compare(alone: list[dict[str, Any]], beam: list[dict[str, Any]]) -> dict[str, Any]:
    """Count the points of one path that the beam reaches, and those at which it is smaller or more accurate."""
    reached = [point for point in alone if any(_covers(other, point) for other in beam)]
    better = [
        point
        for point in alone
        if any(
            _covers(other, point) and (other["size_bytes"], other["metric"]) != (point["size_bytes"], point["metric"])
            for other in beam
        )
    ]
    return {"points_of_one_path": len(alone), "at_least_as_good": len(reached), "better": len(better)}


def _covers(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(one["size_bytes"] <= other["size_bytes"] and one["metric"] >= other["metric"])


if __name__ == "__main__":
    sys.exit(main())
