"""Measures several model files in the engines that will run them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drupelet_host.compute.backend import ComputeBackend, Task, run_tasks
from drupelet_host.compute.in_process import IN_PROCESS
from drupelet_host.compute.model_files import ModelFiles
from drupelet_host.data.samples import Samples
from drupelet_host.evaluation.fidelity import find_worst
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.evaluation.memory import measure_peak_memory
from drupelet_host.evaluation.metrics import Fidelity, Metric
from drupelet_host.evaluation.scoring import answer_session
from drupelet_host.latency.engines import THREADS, engine_of
from drupelet_host.latency.workstation import THOROUGH, TimingBudget, compare_latency
from drupelet_shared.engines.files import model_size_bytes
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.errors import EngineError, RequestError
from drupelet_shared.inference.loopback import LoopbackSession
from drupelet_shared.timing import Timing


@dataclass(frozen=True, slots=True)
class CandidateMeasurements:
    """What was measured of models some of which may not run.

    Attributes:
        measured: The measurements by name.
        failures: Why the others do not load or run, by name.
    """

    measured: Mapping[str, Measurement]
    failures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FileScore:
    """The metric of a model file, and what its lowest fidelity belongs to."""

    metric: float
    weakest: str | None


def measure_models(
    paths: Mapping[str, Path],
    samples: Samples,
    metric: Metric,
    *,
    budget: TimingBudget = THOROUGH,
    memory: bool = True,
    scores: Mapping[str, FileScore] | None = None,
) -> dict[str, Measurement]:
    """Load each model in its engine, score it over all samples, and time all models in alternation.

    Args:
        paths: The model files by name.
        samples: The samples that are scored; the first one is also the input of the timed inferences.
        metric: Scores the outputs.
        budget: How long each model is timed.
        memory: Whether to measure the peak memory of each model, in a process of its own.
        scores: The scores that are known already, by name.

    Returns:
        The measurement of each model by name.

    Raises:
        EngineError: A model does not load or run.
        DataError: The samples lack the labels or reference outputs that the metric needs.
    """
    scored = {name: (scores or {}).get(name) or score_file(path, samples, metric) for name, path in paths.items()}
    peaks = {name: _peak_memory(path, samples) if memory else None for name, path in paths.items()}
    timings = _time(paths, samples, budget=budget)
    return _collect(paths, scored, peaks, timings)


def measure_candidates(
    originals: Mapping[str, Path],
    candidates: Mapping[str, Path],
    samples: Samples,
    metric: Metric,
    *,
    compute: ComputeBackend = IN_PROCESS,
) -> CandidateMeasurements:
    """Measure as `measure_models` does, and go on without the candidates that do not load or run.

    Args:
        originals: The files of the original by name; these must run.
        candidates: The files of the variants by name.
        samples: The samples that are scored.
        metric: Scores the outputs.
        compute: What scores the files; times are measured here, one model at a time.

    Raises:
        EngineError: An original does not load or run.
        DataError: The samples lack the labels or reference outputs that the metric needs.
    """
    every = {**originals, **candidates}
    shared = (compute.share(samples), compute.share(metric))
    tasks = [
        Task(f"{name} is scored", try_file, (ModelFiles.read(path), *shared, name in originals))
        for name, path in every.items()
    ]
    results = dict(zip(every, run_tasks(compute, tasks), strict=True))
    failures = {name: result for name, result in results.items() if isinstance(result, str)}
    scored = {name: result[0] for name, result in results.items() if not isinstance(result, str)}
    peaks = {name: result[1] for name, result in results.items() if not isinstance(result, str)}
    paths = {name: path for name, path in every.items() if name in scored}
    timings = _time(paths, samples, budget=THOROUGH)
    return CandidateMeasurements(_collect(paths, scored, peaks, timings), failures)


def try_file(
    files: ModelFiles,
    samples: Samples,
    metric: Metric,
    is_required: bool,  # noqa: FBT001 - a task's arguments have no names
) -> tuple[FileScore, int] | str:
    """Return the score and the peak memory of a model in bytes, or why it does not run.

    Args:
        files: The model.
        samples: The samples that are scored.
        metric: Scores the outputs.
        is_required: Whether a model that does not run is an error.

    Raises:
        EngineError: A required model does not load or run.
    """
    with tempfile.TemporaryDirectory(prefix="drupelet-score-") as folder:
        path = files.write(Path(folder))
        try:
            return score_file(path, samples, metric), _peak_memory(path, samples)
        except (EngineError, RequestError) as error:
            if is_required:
                raise
            return f"it does not run: {error}"


def score_file(path: Path, samples: Samples, metric: Metric) -> FileScore:
    """Load a model in its engine and score it.

    Args:
        path: The model file.
        samples: The samples that are scored.
        metric: Scores the outputs.

    Returns:
        The score.
    """
    session = load_engine(engine_of(path)).load(path, threads=THREADS)
    # Once the way of a request, so that what no device could answer is found here.
    first = LoopbackSession(session).run(samples.feeds[0], [spec.name for spec in session.outputs])
    answers = [first, *answer_session(session, samples.feeds[1:])]
    score = metric.score(answers, labels=samples.labels, expected=samples.answers)
    weakest = str(find_worst(answers, samples.answers)) if isinstance(metric, Fidelity) else None
    return FileScore(score, weakest)


def _time(paths: Mapping[str, Path], samples: Samples, *, budget: TimingBudget) -> dict[str, Timing]:
    sessions = {name: load_engine(engine_of(path)).load(path, threads=THREADS) for name, path in paths.items()}
    return compare_latency(sessions, samples.feeds[0], budget=budget)


def _collect(
    paths: Mapping[str, Path],
    scored: Mapping[str, FileScore],
    peaks: Mapping[str, int | None],
    timings: Mapping[str, Timing],
) -> dict[str, Measurement]:
    return {
        name: Measurement(
            path=path,
            size_bytes=model_size_bytes(path),
            metric=scored[name].metric,
            timing=timings[name],
            peak_memory_bytes=peaks[name],
            weakest=scored[name].weakest,
        )
        for name, path in paths.items()
    }


def _peak_memory(path: Path, samples: Samples) -> int:
    return measure_peak_memory(path, samples.feeds[0], engine=engine_of(path), threads=THREADS)
