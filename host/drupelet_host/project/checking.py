"""The check of a recipe before any work: everything that a compile would find out before its first pass."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from drupelet_host.compiler.latency_sources.choice import check_source, describe_source
from drupelet_host.compiler.registry import make_pass, passes_of
from drupelet_host.compiler.start import start_compile
from drupelet_host.compiler.state import CompileState
from drupelet_host.evaluation.scoring import answer_module
from drupelet_host.latency.engines import THREADS, engine_of
from drupelet_host.latency.machine import is_modelled, modelled_for
from drupelet_host.packaging.storage import require_writable
from drupelet_host.recipe.model import TFLITE_SUFFIX
from drupelet_host.recipe.schema import Recipe
from drupelet_shared.engines.benchmark import measure_times
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.errors import EngineUnavailableError

# What makes models for an engine besides the engine itself, and the extra that brings it.
_CONVERTERS = {"litert": ("litert_torch", "litert-convert"), "ncnn": ("pnnx", "ncnn-convert")}
_TIMED_RUNS, _MAX_SECONDS = 5, 10.0
# The rough cost of a compile in inferences: a training step is three, and a batch is about four times as fast as its
# samples one by one; five variants are scored, and each way of calibrating is tried on some of the samples.
_TRAINING_INFERENCES, _BATCH_SPEEDUP, _VARIANTS, _CALIBRATIONS = 3, 4, 5, 8
_FIXED_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class CheckedRecipe:
    """A recipe that would begin to compile.

    Attributes:
        engines: The versions of the recipe's engines.
        latency: Where the latency on the target comes from.
        metric: The metric's name.
        samples: How many samples each part of the data has.
        passes: The passes, in order.
        notes: What was noticed of the data, one sentence each.
        seconds: A guess of the least and the longest time of the compile on this machine.
    """

    engines: dict[str, str]
    latency: str
    metric: str
    samples: dict[str, int]
    passes: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: tuple[float, float]


def check_recipe(recipe: Recipe) -> CheckedRecipe:
    """Check everything that can be known before the first pass, from the boards to the layer patterns.

    Args:
        recipe: The recipe, whose own faults `load_recipe` has found.

    Returns:
        What the compile would work with.

    Raises:
        BrokerError: The broker of the recipe's boards cannot be reached.
        DeviceOfflineError: A board of the recipe is not online.
        LatencyError: A board of the recipe does not allow measuring.
        EngineUnavailableError: An engine of the recipe, or what converts to it, is not installed.
        ModelError: The model cannot be loaded, or is not what its task needs.
        DataError: The data cannot be read or does not fit the model or the metric.
        StorageError: The output folder cannot be written.
        DrupeletError: The signing key is unreadable, or something else would end the compile at its start.
    """
    engines: dict[str, str] = {name: load_engine(name).version for name in recipe.export.engines}
    _require_converters(recipe)
    check_source(recipe)
    passes = passes_of(recipe)
    for name in passes:
        make_pass(name, recipe)
    require_writable(recipe.output.folder, what="output folder")
    with tempfile.TemporaryDirectory(prefix="drupelet-check-") as folder:
        state = start_compile(recipe, Path(folder))
        return CheckedRecipe(
            engines=engines,
            latency=_describe_latency(recipe),
            metric=state.metric.name,
            samples=_count_samples(state),
            passes=passes,
            notes=state.notes,
            seconds=_guess_seconds(recipe, state),
        )


def _require_converters(recipe: Recipe) -> None:
    if recipe.model.file is not None and recipe.model.file.suffix == TFLITE_SUFFIX:
        return
    for engine in recipe.export.engines:
        module, extra = _CONVERTERS.get(engine, ("", ""))
        if module and find_spec(module) is None:
            raise EngineUnavailableError(
                f"export.engines has {engine!r}: {module} is not installed, which makes models for it; "
                f"pip install 'drupelet[{extra}]'"
            )


def _describe_latency(recipe: Recipe) -> str:
    label = describe_source(recipe)
    # Without the version of the table, which says nothing to a person.
    return modelled_for(recipe.target.device) if is_modelled(label) else label


def _count_samples(state: CompileState) -> dict[str, int]:
    train = state.calibration if state.training is None else state.training.train
    counts = {"train" if state.training else "calibration": len(train), "validation": len(state.samples)}
    return counts | ({"test": len(state.test)} if state.test else {})


def _guess_seconds(recipe: Recipe, state: CompileState) -> tuple[float, float]:
    """Return a guess of the least and the longest time, from the time of one inference."""
    inference_s = _time_inference(state)
    trials = min(len(state.samples), recipe.quantize.trial_samples)
    calibrations = _CALIBRATIONS if recipe.quantize.method == "auto" else 1
    least = _FIXED_SECONDS + inference_s * (_VARIANTS * len(state.samples) + calibrations * trials)
    if state.training is None:
        return least, 2 * least
    prune = recipe.prune
    steps = prune.max_trials if prune.prune_ratio is None else prune.iterations
    epoch_s = inference_s * _TRAINING_INFERENCES / _BATCH_SPEEDUP * len(state.training.train)
    training_s = epoch_s * prune.recovery.epochs * steps
    if prune.max_minutes is not None:
        training_s = min(training_s, 60 * prune.max_minutes)
    return least, 2 * least + training_s


def _time_inference(state: CompileState) -> float:
    """Return the median time of one inference of the original, in seconds."""
    feed = state.samples.feeds[0]
    if state.training is None:
        assert state.source is not None, "a model is a module or a file"
        session = load_engine(engine_of(state.source)).load(state.source, threads=THREADS)
        return (
            statistics.median(measure_times(session, feed, warmup=1, runs=_TIMED_RUNS, max_seconds=_MAX_SECONDS)) / 1e3
        )
    times = []
    for _ in range(_TIMED_RUNS):
        start = time.perf_counter()
        answer_module(state.training.original, state.training.validation.first(1))
        times.append(time.perf_counter() - start)
    return statistics.median(times)
