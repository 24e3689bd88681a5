"""What a search for pruning ratios is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from drupelet_host.compute.backend import ComputeBackend
from drupelet_host.compute.in_process import IN_PROCESS
from drupelet_host.latency.modelled.table import LatencyTable
from drupelet_host.pruning.search.savings import CostWeights
from drupelet_host.pruning.search.time_cost import Way
from drupelet_host.pruning.structure.groups import Importance
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.torch_models.device import CPU
from drupelet_host.training.finished_parts import NOTHING_FINISHED, FinishedParts
from drupelet_host.training.task_outputs import TaskOutputs


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How the search goes about it.

    Attributes:
        variants: What is judged in each engine, by preference: the first whose unpruned metric is within the limit.
        max_metric_drop: What each judged variant may lose; a fraction. With no constraint on size, latency or memory
            the search spends half of it.
        drop_is_stated: Whether the recipe states that limit; a default limit is doubled if a stated cost cannot be
            reached within it.
        max_trials: Most candidates that are made.
        max_passes: Most passes over the training data, over all candidates.
        max_minutes: No candidate is begun later.
        layers: Factors by name pattern; they override the layer policy.
        importance: What says which channels go first.
        channel_multiple: Layer widths stay multiples of this.
        weights: What counts as cost.
        ways: How each judged variant is run, by its id.
        table: The target's latency table, by which time counts; None counts multiply-accumulates.
        by_latency: Whether of the variants that keep the metric the fastest on the target is judged.
        recovery: The fine-tuning of each candidate.
        seed: For the order of the training samples.
        device: What trains; `evaluate` is given models that are there.
        finished: The recoveries that an interrupted search has finished.
        task: What the outputs hold, where the task says it.
        beam: The number of paths of the search.
        candidate_threads: The threads that a candidate of a beam is made with; a single path uses all.
        compute: What measures sensitivity again on the way, and makes the candidates of a beam.
    """

    variants: tuple[tuple[str, ...], ...]
    max_metric_drop: float
    drop_is_stated: bool = True
    max_trials: int = 12
    max_passes: int | None = None
    max_minutes: float | None = None
    layers: Mapping[str, float] = field(default_factory=dict)
    importance: Importance = "l2"
    channel_multiple: int = 8
    weights: CostWeights = field(default_factory=CostWeights)
    ways: Mapping[str, Way] = field(default_factory=dict)
    table: LatencyTable | None = None
    by_latency: bool = False
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    seed: int = 0
    device: torch.device = CPU
    finished: FinishedParts = NOTHING_FINISHED
    task: TaskOutputs | None = None
    beam: int = 1
    candidate_threads: int | None = None
    compute: ComputeBackend = IN_PROCESS
