"""Sets of channels that are pruned as one group, divided into kinds that lose channels in a fixed proportion."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch

from drupelet_host.pruning.flow.labels import NO_LABEL, ChannelLabels
from drupelet_host.pruning.flow.places import Place
from drupelet_host.pruning.flow.record import FlowRecord


@dataclass(frozen=True, slots=True)
class Component:
    """Channels of one or several layers.

    Attributes:
        root: The first layer that makes them.
        producers: All layers that make them.
        classes: One label for each set of channels that can only go together.
        kinds: The positions of the classes, by kind: all of a kind count alike wherever the model's code counts.
        places: All places of the channels, with the position of each channel's class; -1 for other channels.
        width: The number of the root's channels.
        split: Whether the model's code divides these channels, or keeps weights outside layers.
        reason: Why they must stay; "" where they can go.
    """

    root: Place
    producers: tuple[Place, ...]
    classes: tuple[int, ...]
    kinds: tuple[tuple[int, ...], ...]
    places: Mapping[Place, tuple[int, ...]]
    width: int
    split: bool
    reason: str

    @property
    def units(self) -> int:
        """How many equal shares the channels have: each removes the same number of every kind."""
        return reduce(math.gcd, map(len, self.kinds), 0)

    def choose(self, scores: torch.Tensor, units: int) -> list[int]:
        """Return the positions of the classes of the lowest scores.

        Args:
            scores: The score of each class.
            units: The number of equal shares to remove.
        """
        chosen: list[int] = []
        for kind in self.kinds:
            # A stable sort: equal scores must give the same choice on every run.
            order = torch.argsort(scores[list(kind)], stable=True)[: len(kind) // self.units * units]
            chosen.extend(kind[index] for index in order.tolist())
        return sorted(chosen)


def find_components(record: FlowRecord) -> list[Component]:
    """Return the components in the order in which the model makes their channels."""
    labels = record.labels
    produced = [_classes(labels, record.places.labels[place]) for place in record.places.producers]
    balanced = [_classes(labels, torch.tensor(balance).flatten()) for balance in labels.balances]
    joined = _join_sets([*produced, *balanced])
    members: dict[int, list[int]] = {}
    for label, leader in joined.items():
        members.setdefault(leader, []).append(label)
    producers: dict[int, list[Place]] = {}
    for place in record.places.producers:
        first = labels.find(int(record.places.labels[place][0]))
        producers.setdefault(joined[first], []).append(place)
    return [_describe(record, makers, sorted(members[leader])) for leader, makers in producers.items()]


def _describe(record: FlowRecord, makers: Sequence[Place], classes: Sequence[int]) -> Component:
    root, position = makers[0], {label: index for index, label in enumerate(classes)}
    places = {}
    for place, own in record.places.labels.items():
        positions = tuple(position.get(label, -1) for label in record.labels.canonical(own).tolist())
        if any(index >= 0 for index in positions):
            places[place] = positions
    return Component(
        root=root,
        producers=tuple(makers),
        classes=tuple(classes),
        kinds=_kinds(record.labels, root, places, position),
        places=places,
        width=len(record.places.labels[root]),
        split=record.labels.is_split(classes),
        reason=record.labels.reason(classes),
    )


def _kinds(
    labels: ChannelLabels, root: Place, places: Mapping[Place, Sequence[int]], position: Mapping[int, int]
) -> tuple[tuple[int, ...], ...]:
    counts: dict[int, list[int]] = {index: [] for index in position.values()}
    blocks = [block for balance in labels.balances for block in balance]
    for members in (places[root], *([position.get(labels.find(label), -1) for label in block] for block in blocks)):
        occurrences = Counter(members)
        if any(index >= 0 for index in occurrences):
            for index, signature in counts.items():
                signature.append(occurrences[index])
    kinds: dict[tuple[int, ...], list[int]] = {}
    for index, own in counts.items():
        kinds.setdefault(tuple(own), []).append(index)
    return tuple(map(tuple, kinds.values()))


def _classes(labels: ChannelLabels, own: torch.Tensor) -> set[int]:
    return set(labels.canonical(own).tolist()) - {NO_LABEL}


def _join_sets(sets: Iterable[set[int]]) -> dict[int, int]:
    """Return the leader of each element, where sets that share an element have one leader."""
    leaders: dict[int, int] = {}
    for own in sets:
        known = {_leader(leaders, leaders[element]) for element in own if element in leaders}
        first = min(known | own)
        for element in known | own:
            leaders[element] = first
        leaders[first] = first
    return {element: _leader(leaders, element) for element in leaders}


def _leader(leaders: Mapping[int, int], element: int) -> int:
    while leaders[element] != element:
        element = leaders[element]
    return element
