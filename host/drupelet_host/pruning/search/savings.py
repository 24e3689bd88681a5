"""What is saved when groups get narrower: parameters, and time by the shapes of the layers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import nn

from drupelet_host.evaluation.cost import count_parameters
from drupelet_host.latency.modelled.layers import LayerShape
from drupelet_host.latency.modelled.module_layers import read_module_layers
from drupelet_host.pruning.rewriting.preparation import prepare_for_pruning
from drupelet_host.pruning.search.time_cost import MacCost, TimeCost
from drupelet_host.pruning.structure.candidates import find_candidate
from drupelet_host.pruning.structure.slices import cut_slices
from drupelet_host.pruning.structure.tracing import Trace
from drupelet_host.pruning.structure.unprunable import Unprunable
from drupelet_host.torch_models.inputs import ModuleInputs


@dataclass(frozen=True, slots=True)
class CostWeights:
    """How much a share of the parameters (size) and of the time (latency) counts; they add up to 1."""

    parameters: float = 0.5
    time: float = 0.5


@dataclass(frozen=True, slots=True)
class CostMeasure:
    """What a model costs.

    Attributes:
        weights: How much its parameters and its time count.
        time: What its layers cost in time.
    """

    weights: CostWeights = field(default_factory=CostWeights)
    time: TimeCost = field(default_factory=MacCost)

    def count(self, model: nn.Module, example_input: ModuleInputs) -> tuple[int, float]:
        """Return the parameters and the time of a model.

        Args:
            model: The model.
            example_input: An input it takes.
        """
        return count_parameters(model), self.time.of(read_module_layers(model, example_input))

    def share(self, now: tuple[int, float], whole: tuple[int, float]) -> float:
        """Return the cost of a model as a share of another's.

        Args:
            now: What `count` gave for it.
            whole: What `count` gave for the other.
        """
        parameters = now[0] / whole[0] if whole[0] else 1.0
        time = now[1] / whole[1] if whole[1] else 1.0
        return self.weights.parameters * parameters + self.weights.time * time


class Savings(Protocol):
    """Tells what a narrower group saves."""

    @property
    def groups(self) -> frozenset[str]:
        """The groups that can be made narrower."""

    def saved(self, channels: Mapping[str, int], name: str, count: int) -> float:
        """Return the share of the model's cost that goes when one group is narrowed.

        Args:
            channels: The channels of every group before.
            name: The group that is narrowed.
            count: The channels that it has left.
        """


@dataclass(frozen=True, slots=True)
class _Change:
    """What a layer loses for each channel that a group loses."""

    layer: int
    in_channels: float
    out_channels: float
    groups: float


@dataclass(frozen=True, slots=True)
class _Effect:
    """What one channel of a group accounts for; `time` counts where its layers do not show it."""

    parameters: float
    time: float
    changes: tuple[_Change, ...]


class LayerSavings:
    """Savings from the sizes of the layers that each group is part of.

    A layer's width is a line in the channels of the groups that it belongs to, which a trial cut of each group tells.
    Its time is then looked up at any width, so that steps in the cost count: a width that no kernel makes use of saves
    nothing.
    """

    def __init__(
        self,
        shapes: Sequence[LayerShape],
        channels: Mapping[str, int],
        effects: Mapping[str, _Effect],
        measure: CostMeasure,
    ) -> None:
        """Keep what was counted; see `measure_savings`.

        Args:
            shapes: The layers of the model.
            channels: The channels of each group in it.
            effects: What one channel of each group accounts for.
            measure: What counts as cost.
        """
        self._shapes = tuple(shapes)
        self._channels = dict(channels)
        self._effects = effects
        self._measure = measure
        self._time = measure.time.of(shapes)
        self._changes: dict[int, list[tuple[str, _Change]]] = {}
        for name, effect in effects.items():
            for change in effect.changes:
                self._changes.setdefault(change.layer, []).append((name, change))

    @property
    def groups(self) -> frozenset[str]:
        """The groups that can be made narrower."""
        return frozenset(self._effects)

    def saved(self, channels: Mapping[str, int], name: str, count: int) -> float:
        """Return the share of the model's cost that goes when one group is narrowed; see `Savings.saved`.

        Args:
            channels: The channels of every group before.
            name: The group that is narrowed.
            count: The channels that it has left.
        """
        effect, removed = self._effects[name], channels[name] - count
        time = effect.time * removed
        if effect.changes and self._time:
            narrower = {**channels, name: count}
            layers = [change.layer for change in effect.changes]
            before = sum(self._measure.time.of_layer(self._at(layer, channels)) for layer in layers)
            after = sum(self._measure.time.of_layer(self._at(layer, narrower)) for layer in layers)
            time = (before - after) / self._time
        weights = self._measure.weights
        return weights.parameters * effect.parameters * removed + weights.time * time

    def _at(self, layer: int, channels: Mapping[str, int]) -> LayerShape:
        """Return a layer as it is when the groups have these channels."""
        shape = self._shapes[layer]
        sizes = [float(shape.in_channels), float(shape.out_channels), float(shape.groups)]
        for name, change in self._changes[layer]:
            gone = self._channels[name] - channels[name]
            sizes[0] -= gone * change.in_channels
            sizes[1] -= gone * change.out_channels
            sizes[2] -= gone * change.groups
        in_channels, out_channels, groups = (max(1, round(size)) for size in sizes)
        return replace(shape, in_channels=in_channels, out_channels=out_channels, groups=groups)


def measure_savings(
    model: nn.Module, example_input: ModuleInputs, channels: Mapping[str, int], *, measure: CostMeasure
) -> LayerSavings:
    """Return what narrower groups save, counted on a copy for each group that has lost half of it.

    Args:
        model: The model; it is not changed.
        example_input: An input it takes.
        channels: The number of channels of each group now.
        measure: What counts as cost.
    """
    rewritten = copy.deepcopy(model)
    prepare_for_pruning(rewritten, example_input)
    trace = Trace(rewritten, example_input)
    shapes = read_module_layers(rewritten, example_input)
    parameters, time = count_parameters(rewritten), measure.time.of(shapes)
    effects: dict[str, _Effect] = {}
    for name in channels:
        candidate = find_candidate(rewritten, trace, trace.root(name))
        if isinstance(candidate, Unprunable) or candidate.half == 0:
            continue
        removed = candidate.half
        trial = copy.deepcopy(rewritten)
        cut_slices(trial, candidate.select(rewritten, removed, importance="l2"))
        after = read_module_layers(trial, example_input)
        effects[name] = _Effect(
            parameters=(1 - count_parameters(trial) / parameters) / removed,
            time=(1 - measure.time.of(after) / time) / removed if time else 0.0,
            changes=_compare(shapes, after, removed),
        )
    return LayerSavings(shapes, channels, effects, measure)


def _compare(before: Sequence[LayerShape], after: Sequence[LayerShape], removed: int) -> tuple[_Change, ...]:
    """Return how layers change with a group; nothing where the smaller model has other layers."""
    if [shape.kind for shape in before] != [shape.kind for shape in after]:
        return ()
    changes = (
        _Change(
            position,
            (old.in_channels - new.in_channels) / removed,
            (old.out_channels - new.out_channels) / removed,
            (old.groups - new.groups) / removed,
        )
        for position, (old, new) in enumerate(zip(before, after, strict=True))
    )
    return tuple(change for change in changes if change.in_channels or change.out_channels or change.groups)
