"""The dependency groups that a trace shows, each tried on a copy of the model before anyone relies on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from drupelet_host.pruning.structure.blocks import Blocks, find_blocks
from drupelet_host.pruning.structure.coupling_check import check_coupling, check_subset
from drupelet_host.pruning.structure.slices import Importance, Slice, score_slices
from drupelet_host.pruning.structure.tracing import Coupling, Trace
from drupelet_host.pruning.structure.trial import UNSEEN, Trial
from drupelet_host.pruning.structure.unprunable import IN_THE_OUTPUT, Unprunable


@dataclass(frozen=True, slots=True)
class GroupCandidate:
    """Coupled channels whose removal can be tried.

    Attributes:
        name: The root layer's, as the model came.
        root: The same, as the layer is called in the traced model.
        channels: How many outputs it has.
        slices: What they are in each layer.
        blocks: How they are split.
    """

    name: str
    root: str
    channels: int
    slices: tuple[Slice, ...]
    blocks: Blocks

    @property
    def half(self) -> int:
        """About half of its channels, as many as can go together; 0 where none can."""
        count = max(1, self.channels // self.blocks.count // 2) * self.blocks.count
        return max(0, min(count, self.channels - self.blocks.minimum)) // self.blocks.count * self.blocks.count

    def choose(self, model: nn.Module, count: int, *, importance: Importance, largest: bool = False) -> list[int]:
        """Return the least important channels, as many from each block.

        Args:
            model: The model.
            count: The number of channels to choose.
            importance: The measure of importance.
            largest: Whether to choose the most important channels instead.
        """
        scores = score_slices(model, self.slices, self.channels, importance=importance)
        return self.blocks.choose(-scores if largest else scores, count)


def find_candidate(
    model: nn.Module, trace: Trace, root: str, coupling: Coupling | Unprunable
) -> GroupCandidate | Unprunable:
    """Find the candidate at a root, after a check of what the trace says against every layer.

    Args:
        model: The model, its attention rewritten.
        trace: Its dependencies.
        root: The root layer's name in the trace.
        coupling: What goes with the root's channels.

    Returns:
        The candidate, or why its channels cannot go.
    """
    if isinstance(coupling, Unprunable):
        return coupling
    if coupling.reaches_output:
        return IN_THE_OUTPUT
    channels = trace.channels(root)
    mismatch = check_coupling(model, coupling.slices, channels)
    if mismatch is not None:
        return mismatch
    blocks = find_blocks(model, coupling.slices, channels)
    if isinstance(blocks, Unprunable):
        return blocks
    return GroupCandidate(trace.public[root], root, channels, coupling.slices, blocks)


def find_sound(
    model: nn.Module, trace: Trace, example_input: torch.Tensor
) -> tuple[tuple[GroupCandidate, ...], Mapping[str, str]]:
    """Try every candidate.

    Args:
        model: The model, its attention rewritten.
        trace: Its dependencies.
        example_input: An input it takes.

    Returns:
        The candidates that passed their trial, and the faults of the others by the name of every layer in them.
    """
    candidates, faults = list[GroupCandidate](), dict[str, str]()
    for root, coupling in trace.roots():
        candidate = _checked(model, trace, find_candidate(model, trace, root, coupling))
        if isinstance(candidate, Unprunable):
            layers = [root] if isinstance(coupling, Unprunable) else [piece.layer for piece in coupling.slices]
            faults.update((layer, candidate.reason) for layer in layers if layer not in faults)
        else:
            candidates.append(candidate)
    trial = Trial(model, example_input)
    sound = _sift(candidates, lambda some: trial.fault(_half_of(model, trace, some)), faults)
    return tuple(_visible(sound, trial, partial(_half_of, model, trace), faults)), faults


def _checked(model: nn.Module, trace: Trace, candidate: GroupCandidate | Unprunable) -> GroupCandidate | Unprunable:
    if isinstance(candidate, Unprunable):
        return candidate
    if candidate.half == 0:
        return Unprunable(f"it has {candidate.channels} channels: {candidate.blocks.minimum} must stay")
    chosen = candidate.choose(model, candidate.half, importance="l2")
    return check_subset(candidate.slices, trace.coupling(candidate.root, chosen).slices, chosen) or candidate


def _visible(
    candidates: Sequence[GroupCandidate],
    trial: Trial,
    half_of: Callable[..., Sequence[Slice]],
    faults: dict[str, str],
) -> list[GroupCandidate]:
    """Keep the candidates whose removal was seen in an output; nothing was compared for the others.

    The half with the smallest weights may be dead where the other half is not, so that one is tried too.
    """
    seen = []
    for candidate in candidates:
        largest = partial(half_of, [candidate], largest=True)
        if trial.shows(half_of([candidate])) or (trial.shows(largest()) and not trial.fault(largest())):
            seen.append(candidate)
        else:
            faults.update((piece.layer, UNSEEN) for piece in candidate.slices if piece.layer not in faults)
    return seen


def _sift(
    candidates: Sequence[GroupCandidate], fault: Callable[[Sequence[GroupCandidate]], str], faults: dict[str, str]
) -> list[GroupCandidate]:
    """Those that stand the trial together: all at once where they do, else by halves down to the ones that do not."""
    found = fault(candidates) if candidates else ""
    if not found:
        return list(candidates)
    if len(candidates) == 1:
        faults.update((piece.layer, found) for piece in candidates[0].slices if piece.layer not in faults)
        return []
    middle = len(candidates) // 2
    first, second = (_sift(some, fault, faults) for some in (candidates[:middle], candidates[middle:]))
    if not first or not second or not fault([*first, *second]):
        return [*first, *second]
    for candidate in second:
        if fault([*first, candidate]):
            faults.update((piece.layer, "its channels overlap another group's") for piece in candidate.slices)
        else:
            first.append(candidate)
    return first


def _half_of(
    model: nn.Module, trace: Trace, candidates: Sequence[GroupCandidate], *, largest: bool = False
) -> list[Slice]:
    slices: list[Slice] = []
    for candidate in candidates:
        chosen = candidate.choose(model, candidate.half, importance="l2", largest=largest)
        slices.extend(trace.coupling(candidate.root, chosen).slices)
    return slices
