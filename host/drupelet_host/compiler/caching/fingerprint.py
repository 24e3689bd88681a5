"""The digest of all inputs of a compile, from which the cache keys of its passes are derived."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import drupelet_host
import drupelet_shared
from drupelet_host.compiler.state import CompileState, Training
from drupelet_host.data.labels import Labels
from drupelet_host.data.samples import Samples
from drupelet_host.evaluation.metrics import CustomMetric, Metric
from drupelet_host.evaluation.task_metrics.anomaly import BalancedAccuracy
from drupelet_host.evaluation.task_metrics.detection import MeanAveragePrecision
from drupelet_host.evaluation.task_metrics.segmentation import MeanIntersectionOverUnion
from drupelet_host.latency.machine import describe_machine
from drupelet_host.torch_models.device import choose_device, describe_device

_TOOLS = (
    *("ai-edge-litert", "ai-edge-quantizer", "litert-torch", "ncnn", "numpy", "onnx", "onnxruntime", "onnxscript"),
    *("pnnx", "torch", "torch-pruning"),
)


def fingerprint_start(state: CompileState) -> str:
    """Return the SHA-256 over model, data, metric, latency source, machine, and the programs that compile.

    The calibration samples of a module are not included: they are a part of its training samples, and their number is
    in the configuration of the passes that use them.
    """
    digest = hashlib.sha256(
        f"{state.digest()} {state.metric.name} {describe_machine()} {describe_device(choose_device('auto'))}\n".encode()
    )
    for chunk in _list_metric(state.metric):
        digest.update(chunk)
    digest.update(f"{state.latency_source.fingerprint} {state.compute.threads} threads\n".encode())
    for line in _list_versions():
        digest.update(line.encode())
    for path in _list_sources(state):
        digest.update(path.read_bytes())
    for samples in (state.samples, state.proof):
        for chunk in _list_samples(samples):
            digest.update(chunk)
    for chunk in _list_samples(state.calibration) if state.training is None else _list_training(state.training):
        digest.update(chunk)
    return digest.hexdigest()


def _list_versions() -> Iterator[str]:
    for name in _TOOLS:
        try:
            yield f"{name} {metadata.version(name)}\n"
        except metadata.PackageNotFoundError:
            yield f"{name} absent\n"


def _list_sources(state: CompileState) -> Iterable[Path]:
    """Yield the source files of this program, whose passes may change, and those of the user's own code."""
    for package in (drupelet_host, drupelet_shared):
        yield from sorted(Path(next(iter(package.__path__))).rglob("*.py"))
    own: list[object] = []
    if state.training is not None:
        own.extend(type(module) for module in state.training.original.modules())
    if isinstance(state.metric, CustomMetric):
        own.append(state.metric.function)
    yield from sorted(set(_find_files(own)))


def _find_files(objects: Iterable[object]) -> Iterator[Path]:
    for item in objects:
        try:
            file = inspect.getsourcefile(item)  # type: ignore[arg-type]  # any object that a recipe names
        except TypeError:  # built in, or a callable object
            continue
        if file is not None and Path(file).is_file():
            yield Path(file)


def _list_samples(samples: Samples) -> Iterator[bytes]:
    yield from _list_labels(samples.labels)
    for feed in samples.feeds:
        for name, array in sorted(feed.items()):
            yield f"{name} {array.dtype} {array.shape}\n".encode()
            yield array.tobytes()


def _list_training(training: Training) -> Iterator[bytes]:
    # A module's state does not contain strides, activations and similar settings.
    described = re.sub(r" at 0x[0-9a-f]+", "", repr(training.original))
    yield f"{described}\n{training.output_names}\n".encode()
    for name, array in training.train.named_inputs.items():
        yield f"{name} {array.dtype} {array.shape}\n".encode()
        yield array.tobytes()
    yield from _list_labels(training.train.labels)
    if training.task is not None:
        yield repr(training.task).encode()
        yield b"" if training.task.priors is None else training.task.priors.tobytes()


def _list_metric(metric: Metric) -> Iterator[bytes]:
    """Return the settings of a task's metric; a metric's own file is among the sources."""
    if isinstance(metric, MeanAveragePrecision | MeanIntersectionOverUnion | BalancedAccuracy):
        yield repr(metric).encode()
    if isinstance(metric, MeanAveragePrecision) and metric.priors is not None:
        yield metric.priors.tobytes()


def _list_labels(labels: Labels | None) -> Iterator[bytes]:
    if labels is None:
        yield b"no labels"
    else:
        yield f"{labels.dtype} {labels.shape}\n".encode()
        yield labels.tobytes()
