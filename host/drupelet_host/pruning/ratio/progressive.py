"""Progressive pruning: small steps, recovery after each, and a step that cannot be recovered is rolled back."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from drupelet_host.data.dataset import Dataset, make_dataset
from drupelet_host.errors import ModelError
from drupelet_host.evaluation.cost import count_parameters
from drupelet_host.progress.observer import SILENT, Observer
from drupelet_host.pruning.importance import label_samples, prune_least_important
from drupelet_host.pruning.ratio.allocation import allocate_ratios
from drupelet_host.pruning.ratio.plan import PruningPlan, Target
from drupelet_host.pruning.ratio.policy import layer_factors
from drupelet_host.pruning.sensitivity import SensitivityCurve
from drupelet_host.pruning.structure.groups import Importance, PrunableGroup, find_groups
from drupelet_host.pruning.structure.trial import TRIAL_SAMPLES
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.selection.frontier import JudgedCandidate
from drupelet_host.selection.metric_limit import MetricLimit
from drupelet_host.torch_models.device import CPU
from drupelet_host.torch_models.inputs import ModuleInputs, make_tensors
from drupelet_host.training.finished_parts import NOTHING_FINISHED, FinishedParts
from drupelet_host.training.recovery import Evaluate, TrainingData, count_passes, prepare_training_data, recover
from drupelet_host.training.task_outputs import TaskOutputs


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredPruner:
    """How much to prune and in how many steps.

    Attributes:
        prune_ratio: The fraction of channels to remove from a layer of average robustness, 0 to 1.
        iterations: Steps to get there.
        layers: Factors on the ratio by name pattern; they override the layer policy.
        importance: What says which channels go first.
        channel_multiple: Layer widths stay multiples of this.
    """

    prune_ratio: float = 0.5
    iterations: int = 4
    layers: Mapping[str, float] = field(default_factory=dict)
    importance: Importance = "l2"
    channel_multiple: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.prune_ratio < 1:
            raise ModelError(f"prune_ratio = {self.prune_ratio}: expected at least 0 and below 1")
        if self.iterations < 1:
            raise ModelError(f"iterations = {self.iterations}: expected at least 1")

    def plan(
        self, groups: tuple[PrunableGroup, ...], curves: Mapping[str, SensitivityCurve] | None = None
    ) -> PruningPlan:
        """Return the final pruning ratio of each group, from the layer policy and, where there are any, the curves."""
        factors = layer_factors(groups, self.layers)
        ratios = allocate_ratios(factors, curves=curves or {}, prune_ratio=self.prune_ratio)
        return PruningPlan(groups, ratios, self.channel_multiple)


@dataclass(frozen=True, slots=True)
class PruningStep:
    """One step of progressive pruning.

    Attributes:
        fraction: The fraction of the plan after the step; 1 is all of it.
        parameters: The parameters of the model after it.
        metric: The metric after recovery.
        kept: Whether the step was kept; otherwise it was rolled back.
    """

    fraction: float
    parameters: int
    metric: float
    kept: bool


@dataclass(frozen=True, slots=True)
class PruningResult:
    """A pruned model, with the steps or candidates that led to it.

    Attributes:
        model: The pruned model.
        metric: The model's metric; after a search that of the judged variant.
        baseline: The original model's metric.
        channels: The numbers of channels before and after, by group.
        steps: The steps towards a fixed ratio.
        candidates: The candidates of a search.
        passes: The number of passes over the training data in a search.
    """

    model: nn.Module = field(repr=False)
    metric: float
    baseline: float
    channels: Mapping[str, tuple[int, int]]
    steps: tuple[PruningStep, ...]
    candidates: tuple[JudgedCandidate, ...] = ()
    passes: int = 0


def progressive_pruning(
    model: nn.Module,
    train: object,
    evaluate: Evaluate,
    *,
    pruner: StructuredPruner | None = None,
    sensitivity: Mapping[str, SensitivityCurve] | None = None,
    recovery: RecoveryConfig | None = None,
    max_metric_drop: float | None = 0.01,
    seed: int = 0,
    observer: Observer = SILENT,
    device: torch.device = CPU,
    finished: FinishedParts = NOTHING_FINISHED,
    task: TaskOutputs | None = None,
) -> PruningResult:
    """Prune a copy of the model step by step; the same seed gives the same weights.

    Args:
        model: The original; it is left as it is and teaches its smaller copies.
        train: (inputs, labels) as arrays or tensors, or a Dataset; labels may be None.
        evaluate: Gives a model's metric, higher is better.
        pruner: How much and in how many steps.
        sensitivity: The curves of `analyze_sensitivity`.
        recovery: The fine-tuning after each step.
        max_metric_drop: A step that stays further below the original is rolled back; a fraction: 0.01 is one point.
            None keeps every step.
        seed: For the order of the training samples.
        observer: Is told how far it is and why a step was kept or rolled back.
        device: What trains; `evaluate` is given models that are there.
        finished: The recoveries that an interrupted run has finished.
        task: What the outputs hold, where the task says it; recovery then weighs what the task reads of them.

    Returns:
        The pruned model with its metric and steps.

    Raises:
        DataError: The training data is not usable.
        ModelError: The model cannot be traced.
    """
    dataset = make_dataset(train, source="training data")
    recovery = recovery or RecoveryConfig()
    run = _Run(
        # A copy: measuring and tracing switch a module's mode.
        original=copy.deepcopy(model).eval(),
        example_input=make_tensors(dataset.first(1)),
        trial_samples=make_tensors(dataset.spread(TRIAL_SAMPLES)),
        evaluate=evaluate,
        training_data=prepare_training_data(
            model, dataset, device=device, augment=recovery.augment, seed=seed, finished=finished, task=task
        ),
        samples=label_samples(model, dataset),
        pruner=pruner or StructuredPruner(),
        recovery=recovery,
        seed=seed,
        observer=observer,
    )
    return run.prune(sensitivity, max_metric_drop=max_metric_drop)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    """The last state that was good: how much of the plan is done, and the model there."""

    fraction: float
    model: nn.Module
    metric: float
    channels: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    original: nn.Module
    example_input: ModuleInputs
    trial_samples: ModuleInputs
    evaluate: Evaluate
    training_data: TrainingData
    samples: Dataset
    pruner: StructuredPruner
    recovery: RecoveryConfig
    seed: int
    observer: Observer

    def prune(self, curves: Mapping[str, SensitivityCurve] | None, *, max_metric_drop: float | None) -> PruningResult:
        plan = self.pruner.plan(find_groups(self.original, self.example_input, samples=self.trial_samples), curves)
        before = plan.channels_at(0.0)
        baseline = self.evaluate(self.original)
        lowest = -math.inf if max_metric_drop is None else MetricLimit(baseline, max_metric_drop).lowest
        position = _Position(fraction=0.0, model=copy.deepcopy(self.original), metric=baseline, channels=before)
        stride = 1 / self.pruner.iterations
        failed: Mapping[str, int] = before
        steps: list[PruningStep] = []
        while len(steps) < self.pruner.iterations:
            target = plan.next_target(position.fraction, stride=stride, current=position.channels, failed=failed)
            if target is None:
                break
            attempt = self._attempt(position, target, enough=baseline, number=len(steps))
            kept = attempt.metric >= lowest
            steps.append(PruningStep(target.fraction, count_parameters(attempt.model), attempt.metric, kept))
            self._report(steps, baseline=baseline, lowest=lowest)
            # After a step that was rolled back, the next one goes half as far from the same place.
            stride = target.stride if kept else target.stride / 2
            position, failed = (attempt, failed) if kept else (position, target.channels)
        both = {name: (count, position.channels[name]) for name, count in before.items()}
        return PruningResult(position.model, position.metric, baseline, both, tuple(steps))

    def _attempt(self, position: _Position, target: Target, *, enough: float, number: int) -> _Position:
        model = copy.deepcopy(position.model).requires_grad_(requires_grad=True)
        removals = {name: position.channels[name] - count for name, count in target.channels.items()}
        prune_least_important(
            model,
            self.example_input,
            removals,
            importance=self.pruner.importance,
            samples=self.samples,
            device=self.training_data.device,
        )
        passes = count_passes(model, self.training_data, self.recovery)

        def tell(epoch: int, metric: float) -> None:
            what = f"step {number + 1}, epoch {epoch} of at most {passes}: metric {metric:.4f}"
            self.observer.progressed(what, done=number * passes + epoch, total=self.pruner.iterations * passes)

        metric = recover(
            model,
            self.training_data,
            self.evaluate,
            config=self.recovery,
            seed=self.seed + number,
            enough=enough,
            passes=passes,
            on_epoch=tell,
        )
        return _Position(fraction=target.fraction, model=model, metric=metric, channels=target.channels)

    def _report(self, steps: list[PruningStep], *, baseline: float, lowest: float) -> None:
        last = steps[-1]
        what = f"step {len(steps)}: {last.fraction:.0%} of the plan, {last.parameters} parameters"
        if lowest == -math.inf:
            lost = f"{baseline - last.metric:.4f} below the original"
            self.observer.decided(f"{what}: metric {last.metric:.4f}, {lost}: kept, since no max_metric_drop is stated")
        elif last.kept:
            self.observer.decided(f"{what}: metric {last.metric:.4f}, at least {lowest:.4f}: kept")
        else:
            self.observer.decided(f"{what}: metric {last.metric:.4f} after recovery, below {lowest:.4f}: rolled back")
