"""The state that passes hand on to each other."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import nn

from drupelet_host.compiler.lineage import digest_file, digest_module
from drupelet_host.compute.backend import ComputeBackend
from drupelet_host.compute.in_process import IN_PROCESS
from drupelet_host.data.dataset import Dataset
from drupelet_host.data.samples import Samples
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.evaluation.metrics import Metric
from drupelet_host.evaluation.scoring import evaluate_module
from drupelet_host.latency.source import LatencySource
from drupelet_host.latency.workstation import WorkstationSource
from drupelet_host.pruning.ratio.progressive import PruningResult
from drupelet_host.pruning.sensitivity import SensitivityCurve
from drupelet_host.pruning.structure.groups import Importance
from drupelet_host.pruning.structure.trial import TRIAL_SAMPLES
from drupelet_host.quantization.choice import MethodChoice
from drupelet_host.quantization.mixed.mix import LayerPrecision
from drupelet_host.selection.continuation import SearchContinuation
from drupelet_host.selection.metric_limit import MetricLimit
from drupelet_host.torch_models.device import CPU
from drupelet_host.torch_models.inputs import ModuleInputs, make_tensors
from drupelet_host.training.recovery import Evaluate
from drupelet_host.training.task_outputs import TaskOutputs
from drupelet_shared.package.manifest import EngineName, LineageRecord


@dataclass(frozen=True, slots=True)
class CostCount:
    """The counted cost of a model; None if only a training framework could count it."""

    parameters: int
    macs: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The PyTorch side of a compile: model and training data; absent for a model from a file.

    Attributes:
        original: The model as it came; no pass changes it.
        model: The model as the passes so far made it.
        train: The samples for recovery and calibration.
        validation: The samples for measuring.
        output_names: The names of the model's outputs, in its order.
        task: What the outputs hold, where the task says it: recovery then weighs what the task reads of them.
    """

    original: nn.Module
    model: nn.Module
    train: Dataset
    validation: Dataset
    output_names: tuple[str, ...]
    task: TaskOutputs | None = None

    @property
    def example_input(self) -> ModuleInputs:
        """One training sample, batch first."""
        return make_tensors(self.train.first(1))

    @property
    def few_samples(self) -> ModuleInputs:
        """A few training samples, batch first, for trials and exports."""
        return make_tensors(self.train.spread(TRIAL_SAMPLES))

    def evaluator(
        self, metric: Metric, *, device: torch.device = CPU, samples: int | None = None, seed: int = 0
    ) -> Evaluate:
        """Return a function that measures the metric of a module on the validation data.

        Args:
            metric: The metric.
            device: The device that computes.
            samples: The number of samples to draw; None for all.
            seed: The seed of the draw.
        """
        dataset = self.validation if samples is None else self.validation.subset(samples, seed=seed)
        return partial(evaluate_module, dataset=dataset, metric=metric, names=self.output_names, device=device)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileState:
    """The state of a compile between two passes; a pass returns a changed copy.

    Attributes:
        workspace: A folder for the model files of the next pass.
        unfinished: A folder for what the next pass finishes before it ends as a whole, for a run after an interruption;
            it need not exist. None where nothing is cached.
        samples: The samples on which model files are compared.
        test: The samples on which the result is measured; None if `samples` serve for that too.
        calibration: The samples from which a quantizer observes the ranges of activations.
        metric: Scores a model's answers.
        latency_source: The source of the latency on the target.
        compute: The backend that runs the tasks of passes.
        training: The PyTorch side, where the model came as a module.
        source: The ONNX file, where the model came as a file.
        originals: The untouched model as a file for each engine that it runs in.
        original_cost: Counted before anything was done.
        cost: Counted after pruning.
        references: The original measured in each engine, last beside the variants.
        importance: The measure by which channels are removed first.
        curves: Sensitivity by group.
        continuation: The point from which a search is continued; None for a new search.
        pruning: The result of pruning.
        unpruned: Why layers could not be pruned, by layer.
        artifacts: The compiled model's files by variant id.
        dropped: Why variants were not made, or were made and not kept, by id.
        static: The chosen method of static int8, and the metric of each method.
        precisions: The measurements of each layer that could be quantized.
        measurements: The variants measured, by id.
        ranking: Ids of the variants that go into the package, best first.
        lineage: One record for each finished pass.
        package: Where the package was written.
        notes: Observations on the data before the first pass, one sentence each.
    """

    workspace: Path
    samples: Samples
    calibration: Samples
    metric: Metric
    latency_source: LatencySource = field(default_factory=WorkstationSource)
    compute: ComputeBackend = IN_PROCESS
    training: Training | None = None
    source: Path | None = None
    test: Samples | None = None
    originals: Mapping[EngineName, Path] = field(default_factory=dict)
    original_cost: CostCount | None = None
    cost: CostCount | None = None
    references: Mapping[EngineName, Measurement] = field(default_factory=dict)
    importance: Importance = "l2"
    curves: Mapping[str, SensitivityCurve] = field(default_factory=dict)
    continuation: SearchContinuation[PruningResult] | None = None
    pruning: PruningResult | None = None
    unpruned: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    static: MethodChoice | None = None
    precisions: tuple[LayerPrecision, ...] = ()
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    ranking: tuple[str, ...] = ()
    lineage: tuple[LineageRecord, ...] = ()
    package: Path | None = None
    notes: tuple[str, ...] = ()
    unfinished: Path | None = None

    @property
    def proof(self) -> Samples:
        """The samples on which the result is measured."""
        return self.samples if self.test is None else self.test

    def narrow_drop(self, max_metric_drop: float) -> float:
        """Return the loss allowed on the validation samples, so that the result keeps the limit on the test samples.

        With test data, less than the limit by one standard error of a drop of that size, at most by half of it: what
        just passes on some samples fails on others every other time.
        """
        if self.test is None:
            return max_metric_drop
        size = abs(max_metric_drop)
        return max_metric_drop - min(size / 2, math.sqrt(size / len(self.samples)))

    def metric_limit(self, max_metric_drop: float, *, baseline: float | None = None) -> MetricLimit:
        """Return the limit for a choice between models.

        Args:
            max_metric_drop: The stated limit, a fraction.
            baseline: The metric of the original on the same samples; that of the reference by default.
        """
        return MetricLimit(self.reference.metric if baseline is None else baseline, self.narrow_drop(max_metric_drop))

    @property
    def model_bytes(self) -> int:
        """The size of the model as it came: of its file, or of its parameters and buffers."""
        if self.source is not None:
            return self.source.stat().st_size
        held = self.require_training().original.state_dict().values()
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    @property
    def reference(self) -> Measurement:
        """The original in the first engine that measured it: what every variant's metric is compared with."""
        return next(iter(self.references.values()))

    def require_training(self) -> Training:
        """Return the PyTorch side, for passes that are only run where there is one."""
        assert self.training is not None, "the recipe's passes are those of its model"
        return self.training

    def digest(self) -> str:
        """Return the SHA-256 of the newest artifact: the model files if there are any, else the model's state."""
        if self.artifacts:
            lines = [f"{variant} {digest_file(path)}\n" for variant, path in sorted(self.artifacts.items())]
            return hashlib.sha256("".join(lines).encode()).hexdigest()
        if self.training is not None:
            return digest_module(self.training.model)
        assert self.source is not None, "a model is a module or a file"
        return digest_file(self.source)

    def __repr__(self) -> str:
        return f"CompileState(variants={(*self.artifacts,)}, ranking={self.ranking}, package={self.package})"
