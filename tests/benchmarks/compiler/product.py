"""What this project's compiler makes of the network, through the same recipe that a person would write."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.compiler.network import CLASSES, keep_module, load_original
from benchmarks.compiler.peers import score
from benchmarks.compiler.rows import Made
from benchmarks.compiler.samples import read_training, write_archives
from benchmarks.compiler.setting import INPUT_SHAPE, SEED, Setting
from drupelet_host.compiler.compile import compile_recipe
from drupelet_host.compiler.lineage import digest_file
from drupelet_host.compiler.state import CompileState
from drupelet_host.latency.engines import engine_of
from drupelet_host.recipe.schema import parse_recipe
from drupelet_host.selection.variants import JUDGED
from drupelet_shared.engines.files import model_files


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
        """Something was kept or rolled back."""
        self._say(message)

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:
        """A pass has ended."""
        self._say(f"{name}: {seconds:.0f} s, {len(metrics)} numbers")

    def _say(self, what: str) -> None:
        print(f"{self._row}: {what}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a row's recipe states.

    Attributes:
        max_metric_drop: The constraint.
        max_step_drop: What the search may lose of the selection metric.
        epochs: Of recovery, at the original's cost.
        max_minutes: When the search begins no further candidate; a safeguard, since a search that it ends is not the
            same twice.
        variants: The recipe's `quantize.variants`.
        engines: The recipe's `export.engines`.
        views: The recipe's `prune.recovery.augment.views`, where images are moved at all.
        max_latency: The constraint, as a recipe states it, on the target that a recipe has by default.
    """

    max_metric_drop: float
    max_step_drop: float
    epochs: int
    max_minutes: float | None
    variants: tuple[str, ...]
    engines: tuple[str, ...] = ("onnxruntime",)
    views: int = 8
    max_latency: str | None = None


def compile_row(setting: Setting, *, row: str, wish: Wish) -> Made:
    """Compile with nothing constrained but the metric; a compile that was ended goes on from its cache."""
    recipe = parse_recipe(_recipe(setting, row=row, wish=wish), folder=setting.work)
    state = compile_recipe(recipe, observer=Narrator(row), cache=setting.work / f"cache-{row}")
    assert state.pruning is not None, "the prune pass always leaves a result"
    keep_module(state.require_training().model, setting, row=row)
    models = {variant: _copy(setting, state, row=row, variant=variant) for variant in _list_variants(state)}
    _, selection = read_training(setting)
    return Made(
        models=models,
        selection_metric=max(score(models[variant], selection) for variant in state.ranking),
        passes=state.pruning.passes,
        notes=_notes(state, wish),
    )


def share_cache(setting: Setting, *, source: str, row: str) -> None:
    """Let a row begin with the passes that another row finished with the same input: what the original is like."""
    done, own = setting.work / f"cache-{source}", setting.work / f"cache-{row}"
    finished = [entry.parent for entry in done.glob("*/state.pickle")]
    for entry in finished:
        shutil.copytree(entry, own / entry.name, dirs_exist_ok=True)


def _recipe(setting: Setting, *, row: str, wish: Wish) -> dict[str, object]:
    training, selection = write_archives(setting)
    limits: dict[str, object] = {"max_passes": setting.passes, "max_step_drop": wish.max_step_drop}
    if wish.max_minutes is not None:
        limits["max_minutes"] = wish.max_minutes
    constraints: dict[str, object] = {"max_metric_drop": wish.max_metric_drop}
    if wish.max_latency is not None:
        constraints["max_latency"] = wish.max_latency
    return {
        "seed": SEED,
        "device": setting.device,
        "model": {
            "name": "resnet18",
            "version": "1.0.0",
            "release": 1,
            "factory": "benchmarks.compiler.network:build",
            "weights": _write_weights(setting).name,
            "input_shape": list(INPUT_SHAPE),
            "labels": [str(index) for index in range(CLASSES)],
        },
        "data": {"train": training.name, "validation": selection.name},
        "constraints": constraints,
        "quantize": {"variants": list(wish.variants)},
        "export": {"engines": list(wish.engines)},
        "prune": {**limits, "recovery": _recovery(setting, wish)},
        "output": {"folder": f"package-{row}"},
    }


def _recovery(setting: Setting, wish: Wish) -> dict[str, object]:
    told: dict[str, object] = {"epochs": wish.epochs, "precision": setting.precision}
    return {**told, "augment": {"shift": setting.shift, "views": wish.views}} if setting.shift else told


def _write_weights(setting: Setting) -> Path:
    """Return the original's weights as a recipe takes them: in float32."""
    path = setting.work / "original-float32.pt"
    partial = path.with_suffix(f".{os.getpid()}")
    torch.save(load_original(setting).state_dict(), partial)
    partial.replace(path)
    return path


def _list_variants(state: CompileState) -> Iterator[str]:
    """Yield what is in the package, and the static int8 of the engines that a limit leaves out."""
    yield from state.ranking
    packed = {engine_of(state.artifacts[variant]) for variant in state.ranking}
    yield from (
        hoped_for for engine, (hoped_for, *_) in JUDGED.items() if engine not in packed and hoped_for in state.artifacts
    )


def _copy(setting: Setting, state: CompileState, *, row: str, variant: str) -> Path:
    """Return a variant out of the cache."""
    first, *others = model_files(state.artifacts[variant])
    path = setting.work / f"{row}-{variant}{first.suffix}"
    for file in (first, *others):
        shutil.copyfile(file, path.with_suffix(file.suffix))
    return path


def _notes(state: CompileState, wish: Wish) -> dict[str, object]:
    assert state.pruning is not None, "the prune pass always leaves a result"
    candidates = state.pruning.candidates
    return {
        **asdict(wish),
        "ranking": list(state.ranking),
        "digests": {variant: digest_file(path) for variant, path in state.artifacts.items()},
        "importance": state.importance,
        "channels": {name: list(both) for name, both in state.pruning.channels.items()},
        "candidates": [
            {"parameters": found.parameters, "macs": found.macs, "kept": found.kept, "reason": found.reason}
            for found in candidates
        ],
    }
