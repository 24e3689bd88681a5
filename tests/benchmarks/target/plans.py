"""The same search step by step, once by multiply-accumulates and once by latency: what each pays for its milliseconds.

Both criteria see the same sensitivity curves, make the same number of steps, and recover in the same way. Times are
modelled, in the best engine and precision of each model.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles

import numpy as np
import torch
from torch import nn

from benchmarks.target.subjects import Subject
from drupelet_host.latency.modelled.estimate import Estimate, estimate_all
from drupelet_host.latency.modelled.module_layers import read_module_layers
from drupelet_host.latency.modelled.table import LatencyTable
from drupelet_host.pruning.search.choice import ChannelChoice
from drupelet_host.pruning.search.savings import CostMeasure, CostWeights, measure_savings
from drupelet_host.pruning.search.steps import plan_step
from drupelet_host.pruning.search.time_cost import LatencyCost, MacCost, Way
from drupelet_host.pruning.sensitivity import SensitivityCurve, analyze_sensitivity
from drupelet_host.pruning.structure.groups import find_groups, remove_channels

_DROPS = (0.005, 0.01, 0.02, 0.05, 0.1)
_MULTIPLE = 8
_SMALL_STEP = 0.06
_ALL_TIME = CostWeights(parameters=0.0, time=1.0)
_BY_MACS = CostMeasure(_ALL_TIME, MacCost())


@dataclass(frozen=True, slots=True)
class Point:
    """A model on the way: its metric, its milliseconds in the best engine, and what it consists of.

    Attributes:
        metric: What is measured of the outputs.
        ms: Modelled, in its best engine and precision.
        macs: Its multiply-accumulates.
        top1: Where it has classes.
        channels: Of each group.
    """

    metric: float
    ms: float
    macs: int
    top1: float | None = None
    channels: Mapping[str, int] | None = None

    @property
    def value(self) -> float:
        """Top-1, or the metric where there are no classes."""
        return self.metric if self.top1 is None else self.top1


def compare_plans(name: str, subject: Subject, table: LatencyTable, *, steps: int) -> dict[str, object]:
    """Return both ways of a network, and how much less the latency-driven one takes at the same metric.

    Args:
        name: The network's name.
        subject: The network, and what it is judged with.
        table: The target's table.
        steps: How many steps each way has.
    """
    curves = analyze_sensitivity(subject.original, subject.curve_example, subject.score)
    best = _best(subject.original, subject, table)
    by_latency = CostMeasure(_ALL_TIME, LatencyCost(table, [Way(best.engine, best.precision)]))  # type: ignore[arg-type]  # never "mixed"
    walk = _Walk(subject, table, curves, steps)
    ways = {"macs": walk.points(_BY_MACS), "latency": walk.points(by_latency)}
    reductions = compare_at_equal_metric(ways["macs"], ways["latency"])
    return {
        "network": name,
        "what": subject.what,
        "engine": best.engine,
        "precision": best.precision,
        "source": best.source,
        "original_ms": best.ms,
        "time_per_mac": spread_time_per_mac(subject.original, subject.example, by_latency),
        "ways": {way: [asdict(point) for point in points] for way, points in ways.items()},
        "reductions_at_equal_metric": reductions,
        "median_reduction": median(reductions.values()) if reductions else None,
    }


def spread_time_per_mac(model: nn.Module, example: torch.Tensor, by_latency: CostMeasure) -> dict[str, float]:
    """Return the quartiles over the groups of the share of the time that goes for each share of the arithmetic.

    Each group loses half of its channels. Where all groups are alike, a choice by time is the choice by arithmetic.

    Args:
        model: The network.
        example: An input it takes.
        by_latency: What counts milliseconds.
    """
    channels = {group.name: group.channels for group in find_groups(model, example)}
    time, macs = (measure_savings(model, example, channels, measure=measure) for measure in (by_latency, _BY_MACS))
    halves = {name: max(_MULTIPLE, count // 2) for name, count in channels.items() if name in time.groups}
    ratios = [time.saved(channels, name, half) / macs.saved(channels, name, half) for name, half in halves.items()]
    return dict(zip(("q1", "median", "q3"), (round(value, 3) for value in quantiles(ratios)), strict=True))


def compare_at_equal_metric(baseline: Sequence[Point], other: Sequence[Point]) -> dict[float, float]:
    """Return by how much less another way takes at metrics that both reach, by the metric.

    Metrics are top-1 at some drops from the original, or without classes those of the baseline's points. Between two
    points a way takes what a line between them says: a step's size is part of the error.

    Args:
        baseline: The points of one way, the original first.
        other: Those of the other.
    """
    original = baseline[0]
    levels = [point.value for point in baseline[1:]]
    if original.top1 is not None:
        levels = [round(original.top1 - drop, 4) for drop in _DROPS]
    one, two = _frontier(baseline), _frontier(other)
    lowest, highest = max(one[0][0], two[0][0]), min(one[-1][0], two[-1][0])
    return {
        level: 1 - float(np.interp(level, *zip(*two, strict=True)) / np.interp(level, *zip(*one, strict=True)))
        for level in levels
        if lowest <= level <= highest
    }


def _frontier(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Return metric and milliseconds, rising, of the points that no faster one is as good as."""
    best = [
        (point.value, point.ms)
        for point in points
        if not any(other.ms < point.ms and other.value >= point.value for other in points)
    ]
    return sorted(set(best))


@dataclass(frozen=True, slots=True)
class _Walk:
    """What both ways through a network have in common."""

    subject: Subject
    table: LatencyTable
    curves: Mapping[str, SensitivityCurve]
    steps: int

    def points(self, measure: CostMeasure) -> list[Point]:
        """Return the original and the model after each step."""
        example = self.subject.example
        now = copy.deepcopy(self.subject.original).requires_grad_(requires_grad=True)
        groups = {group.name: group for group in find_groups(now, example)}
        channels = {name: group.channels for name, group in groups.items()}
        factors = dict.fromkeys(groups, 1.0)
        choice = ChannelChoice(curves=self.curves, factors=factors, multiple=_MULTIPLE, groups=groups)
        points = [self._measure(now, channels)]
        for _ in range(self.steps):
            narrower = self._plan(now, channels, choice, measure)
            if narrower == channels:
                break
            remove_channels(now, example, _differences(channels, narrower), importance="l2")
            self.subject.recover(now)
            channels = narrower
            points.append(self._measure(now, channels))
        return points

    def _plan(
        self, model: nn.Module, channels: dict[str, int], choice: ChannelChoice, measure: CostMeasure
    ) -> dict[str, int]:
        """Return the channels after a step.

        It saves a share of the cost that the way counts, or, where steps are equal in time, of the milliseconds: both
        ways have then been recovered equally often when they are as fast.
        """
        example, goal = self.subject.example, self.subject.step
        if not self.subject.steps_are_equal_in_time:
            return plan_step(model, example, channels, goal=goal, choice=choice, measure=measure)
        trial, chosen = copy.deepcopy(model).requires_grad_(requires_grad=True), channels
        fast_enough = (1 - goal) * _best(model, self.subject, self.table).ms
        while _best(trial, self.subject, self.table).ms > fast_enough:
            narrower = plan_step(trial, example, chosen, goal=_SMALL_STEP, choice=choice, measure=measure)
            if narrower == chosen:
                break
            remove_channels(trial, example, _differences(chosen, narrower), importance="l2")
            chosen = narrower
        return chosen

    def _measure(self, model: nn.Module, channels: Mapping[str, int]) -> Point:
        macs = sum(shape.macs for shape in read_module_layers(model, self.subject.example))
        quality = self.subject.judge(model)
        ms = _best(model, self.subject, self.table).ms
        print(f"  {macs} MACs, {ms:.3f} ms, {quality}", file=sys.stderr, flush=True)
        return Point(quality.metric, ms, macs, quality.top1, dict(channels))


def _differences(channels: Mapping[str, int], narrower: Mapping[str, int]) -> dict[str, int]:
    return {name: channels[name] - count for name, count in narrower.items()}


def _best(model: nn.Module, subject: Subject, table: LatencyTable) -> Estimate:
    estimates = estimate_all(read_module_layers(model, subject.example), table)
    return min(estimates, key=lambda estimate: estimate.ms)
