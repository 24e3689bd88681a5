"""The same search step by step, once by multiply-accumulates and once by latency: what each pays for its milliseconds.

Networks have seeded weights and are not recovered: the metric is how near their outputs stay to the original's. Both
criteria see the same sensitivity curves. Times are modelled, in the best engine and precision of each model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import numpy as np
import torch
from torch import nn

from benchmarks.engines.networks import build
from drupelet_host.latency.modelled.estimate import Estimate, estimate_all
from drupelet_host.latency.modelled.module_layers import read_module_layers
from drupelet_host.latency.modelled.table import LatencyTable
from drupelet_host.pruning.search.choice import ChannelChoice
from drupelet_host.pruning.search.savings import CostMeasure, CostWeights
from drupelet_host.pruning.search.steps import plan_step
from drupelet_host.pruning.search.time_cost import LatencyCost, MacCost, Way
from drupelet_host.pruning.sensitivity import SensitivityCurve, analyze_sensitivity
from drupelet_host.pruning.structure.groups import find_groups, remove_channels
from support.model.split_architectures import Yolo

_SEED = 0
_SAMPLES = 4
_RATIOS = (0.5,)
_STEP = 0.15
_MULTIPLE = 8
_ALL_TIME = CostWeights(parameters=0.0, time=1.0)


@dataclass(frozen=True, slots=True)
class Point:
    """A model on the way: its metric, its milliseconds in the best engine, and its multiply-accumulates."""

    metric: float
    ms: float
    macs: int


@dataclass(frozen=True, slots=True)
class Subject:
    """A network and the size of its images; curves are measured on smaller ones, which takes less time."""

    build: Callable[[], nn.Module]
    side: int
    curve_side: int


def _yolo() -> nn.Module:
    torch.manual_seed(_SEED)
    return Yolo().eval()


SUBJECTS: Mapping[str, Subject] = {
    "resnet18": Subject(lambda: build("resnet18"), 224, 64),
    "mobilenet_v2": Subject(lambda: build("mobilenet_v2"), 224, 64),
    "yolo": Subject(_yolo, 160, 96),
}


def compare_plans(name: str, table: LatencyTable, *, steps: int) -> dict[str, object]:
    """Return both ways of a network, and how much less the latency-driven one takes at the same metric.

    Args:
        name: A name of `SUBJECTS`.
        table: The target's table.
        steps: How many steps each way has.
    """
    subject = SUBJECTS[name]
    model = subject.build()
    example, small = _images(1, subject.side), _images(_SAMPLES, subject.curve_side)
    score = _Fidelity(model, small)
    curves = analyze_sensitivity(model, small[:1], score, ratios=_RATIOS)
    best = _best(model, example, table)
    by_latency = CostMeasure(_ALL_TIME, LatencyCost(table, [Way(best.engine, best.precision)]))  # type: ignore[arg-type]  # never "mixed"
    walk = _Walk(model, example, score, table, curves, steps)
    ways = {"macs": walk.points(CostMeasure(_ALL_TIME, MacCost())), "latency": walk.points(by_latency)}
    reductions = list(compare_at_equal_metric(ways["macs"], ways["latency"]))
    return {
        "network": name,
        "engine": best.engine,
        "precision": best.precision,
        "source": best.source,
        "original_ms": best.ms,
        "ways": {way: [asdict(point) for point in points] for way, points in ways.items()},
        "reductions_at_equal_metric": reductions,
        "median_reduction": median(reductions) if reductions else None,
    }


def compare_at_equal_metric(baseline: Sequence[Point], other: Sequence[Point]) -> list[float]:
    """Return by how much less another way takes at the metric of each point of a baseline that both reach.

    Args:
        baseline: The points of one way, the original first.
        other: Those of the other.
    """
    metrics = np.minimum.accumulate([point.metric for point in other])
    times = np.minimum.accumulate([point.ms for point in other])
    reached = [point for point in baseline[1:] if metrics[-1] <= point.metric < metrics[0]]
    return [1 - float(np.interp(-point.metric, -metrics, times)) / point.ms for point in reached]


@dataclass(frozen=True, slots=True)
class _Walk:
    """What both ways through a network have in common."""

    model: nn.Module
    example: torch.Tensor
    score: Callable[[nn.Module], float]
    table: LatencyTable
    curves: Mapping[str, SensitivityCurve]
    steps: int

    def points(self, measure: CostMeasure) -> list[Point]:
        """Return the original and the model after each step."""
        now = copy.deepcopy(self.model).requires_grad_(requires_grad=True)
        groups = {group.name: group for group in find_groups(now, self.example)}
        channels = {name: group.channels for name, group in groups.items()}
        factors = dict.fromkeys(groups, 1.0)
        choice = ChannelChoice(curves=self.curves, factors=factors, multiple=_MULTIPLE, groups=groups)
        points = [self._measure(now)]
        for _ in range(self.steps):
            narrower = plan_step(now, self.example, channels, goal=_STEP, choice=choice, measure=measure)
            if narrower == channels:
                break
            removals = {name: channels[name] - count for name, count in narrower.items()}
            remove_channels(now, self.example, removals, importance="l2")
            channels = narrower
            points.append(self._measure(now))
        return points

    def _measure(self, model: nn.Module) -> Point:
        macs = sum(shape.macs for shape in read_module_layers(model, self.example))
        return Point(self.score(model), _best(model, self.example, self.table).ms, macs)


def _best(model: nn.Module, example: torch.Tensor, table: LatencyTable) -> Estimate:
    return min(estimate_all(read_module_layers(model, example), table), key=lambda estimate: estimate.ms)


class _Fidelity:
    """One less the relative error of a model's outputs, with the original's."""

    def __init__(self, original: nn.Module, samples: torch.Tensor) -> None:
        self._samples = samples
        with torch.no_grad():
            self._expected = original.eval()(samples)

    def __call__(self, model: nn.Module) -> float:
        with torch.no_grad():
            outputs = model.eval()(self._samples)
        error = float((outputs - self._expected).square().sum() / self._expected.square().sum())
        return 1 - float(np.sqrt(error))


def _images(count: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    coarse = torch.rand(count, 3, side // 16, side // 16, generator=generator)
    return (nn.functional.interpolate(coarse, size=(side, side), mode="bilinear") - 0.5) * 4
