"""What this project's compiler makes of the network, through the same recipe that a person would write."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.compiler.network import CLASSES
from benchmarks.compiler.peers import score
from benchmarks.compiler.rows import Made
from benchmarks.compiler.samples import read_training, write_archives
from benchmarks.compiler.setting import INPUT_SHAPE, SEED, Setting
from drupelet_host.compiler import compile_recipe
from drupelet_host.evaluation.measurement import engine_of
from drupelet_host.recipe import parse_recipe
from drupelet_host.state import CompileState

_ENGINE = "onnxruntime"


class Narrator:
    """Tells on standard error what the compiler decides and how far it is."""

    def __init__(self, row: str) -> None:
        self._row = row

    def pass_started(self, name: str, *, position: int, count: int) -> None:
        """A pass begins."""
        self._say(f"pass {position} of {count}: {name}")

    def progressed(self, what: str, *, done: int, total: int) -> None:
        """A part of a pass is done."""
        self._say(f"{what} ({done} of {total})")

    def decided(self, message: str) -> None:
        """Something was kept or taken back."""
        self._say(message)

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:
        """A pass has ended."""
        self._say(f"{name}: {seconds:.0f} s, {len(metrics)} numbers")

    def _say(self, what: str) -> None:
        print(f"{self._row}: {what}", file=sys.stderr, flush=True)


def compile_row(setting: Setting, *, row: str, max_metric_drop: float) -> Made:
    """Compile with nothing stated but what the metric may lose; a compile that was ended goes on from its cache."""
    recipe = parse_recipe(_recipe(setting, row=row, max_metric_drop=max_metric_drop), folder=setting.work)
    state = compile_recipe(recipe, observer=Narrator(row), cache=setting.work / f"cache-{row}")
    models = {engine: _copy(setting, state, row=row, engine=engine) for engine in setting.engines}
    _, selection = read_training(setting)
    return Made(models=models, selection_metric=score(models[_ENGINE], selection), notes=_notes(state, max_metric_drop))


def _recipe(setting: Setting, *, row: str, max_metric_drop: float) -> dict[str, object]:
    training, selection = write_archives(setting)
    return {
        "seed": SEED,
        "model": {
            "name": "resnet18",
            "version": "1.0.0",
            "release": 1,
            "factory": "benchmarks.compiler.network:build",
            "weights": setting.weights.name,
            "input_shape": list(INPUT_SHAPE),
            "labels": [str(index) for index in range(CLASSES)],
        },
        "data": {"train": training.name, "validation": selection.name},
        "constraints": {"max_metric_drop": max_metric_drop},
        "export": {"engines": list(setting.engines)},
        "output": {"folder": f"package-{row}"},
    }


def _copy(setting: Setting, state: CompileState, *, row: str, engine: str) -> Path:
    """The best-ranked variant of an engine, out of the cache."""
    variant = next(variant for variant in state.ranking if engine_of(state.artifacts[variant]) == engine)
    source = state.artifacts[variant]
    path = setting.work / f"{row}-{variant}{source.suffix}"
    shutil.copyfile(source, path)
    return path


def _notes(state: CompileState, max_metric_drop: float) -> dict[str, object]:
    assert state.pruning is not None, "the prune pass always leaves a result"
    candidates = state.pruning.candidates
    return {
        "max_metric_drop": max_metric_drop,
        "ranking": list(state.ranking),
        "importance": state.importance,
        "channels": {name: list(both) for name, both in state.pruning.channels.items()},
        "candidates": [
            {"parameters": found.parameters, "macs": found.macs, "kept": found.kept, "reason": found.reason}
            for found in candidates
        ],
    }
