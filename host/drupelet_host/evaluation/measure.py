"""Measures several model files in the engines that will run them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drupelet_host.data.samples import Samples
from drupelet_host.evaluation.fidelity import find_worst
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.evaluation.memory import measure_peak_memory
from drupelet_host.evaluation.metrics import Fidelity, Metric
from drupelet_host.evaluation.scoring import answer_session
from drupelet_host.latency.engines import THREADS, engine_of
from drupelet_host.latency.workstation import THOROUGH, TimingBudget, compare_latency
from drupelet_shared.engines.base import Session
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
class _Scored:
    """A loaded model with its metric, and what its lowest fidelity belongs to."""

    session: Session
    metric: float
    weakest: str | None


def measure_models(
    paths: Mapping[str, Path],
    samples: Samples,
    metric: Metric,
    *,
    budget: TimingBudget = THOROUGH,
    memory: bool = True,
) -> dict[str, Measurement]:
    """Load each model in its engine, score it over all samples, and time all models in alternation.

    Args:
        paths: The model files by name.
        samples: The samples that are scored; the first one is also the input of the timed inferences.
        metric: Scores the outputs.
        budget: How long each model is timed.
        memory: Whether to measure the peak memory of each model, in a process of its own.

    Returns:
        The measurement of each model by name.

    Raises:
        EngineError: A model does not load or run.
        DataError: The samples lack the labels or reference outputs that the metric needs.
    """
    scored = {name: _score(path, samples, metric) for name, path in paths.items()}
    peaks = {name: _peak_memory(path, samples) if memory else None for name, path in paths.items()}
    timings = _time(scored, samples, budget=budget)
    return _collect(paths, scored, peaks, timings)


def measure_candidates(
    originals: Mapping[str, Path], candidates: Mapping[str, Path], samples: Samples, metric: Metric
) -> CandidateMeasurements:
    """Measure as `measure_models` does, and go on without the candidates that do not load or run.

    Args:
        originals: The files of the original by name; these must run.
        candidates: The files of the variants by name.
        samples: The samples that are scored.
        metric: Scores the outputs.

    Raises:
        EngineError: An original does not load or run.
        DataError: The samples lack the labels or reference outputs that the metric needs.
    """
    scored: dict[str, _Scored] = {}
    peaks: dict[str, int | None] = {}
    failures: dict[str, str] = {}
    for name, path in {**originals, **candidates}.items():
        try:
            result = _score(path, samples, metric)
            peaks[name] = _peak_memory(path, samples)
        except (EngineError, RequestError) as error:
            if name in originals:
                raise
            failures[name] = f"it does not run: {error}"
        else:
            scored[name] = result
    paths = {name: path for name, path in {**originals, **candidates}.items() if name in scored}
    timings = _time(scored, samples, budget=THOROUGH)
    return CandidateMeasurements(_collect(paths, scored, peaks, timings), failures)


def _score(path: Path, samples: Samples, metric: Metric) -> _Scored:
    session = load_engine(engine_of(path)).load(path, threads=THREADS)
    # Once the way of a request, so that what no device could answer is found here.
    first = LoopbackSession(session).run(samples.feeds[0], [spec.name for spec in session.outputs])
    answers = [first, *answer_session(session, samples.feeds[1:])]
    score = metric.score(answers, labels=samples.labels, expected=samples.answers)
    weakest = str(find_worst(answers, samples.answers)) if isinstance(metric, Fidelity) else None
    return _Scored(session, score, weakest)


def _time(scored: Mapping[str, _Scored], samples: Samples, *, budget: TimingBudget) -> dict[str, Timing]:
    sessions = {name: candidate.session for name, candidate in scored.items()}
    return compare_latency(sessions, samples.feeds[0], budget=budget)


def _collect(
    paths: Mapping[str, Path],
    scored: Mapping[str, _Scored],
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
