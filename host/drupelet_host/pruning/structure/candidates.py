"""The dependency groups that a trace shows, each tried on a copy of the model before anyone relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from drupelet_host.pruning.structure.blocks import Blocks, find_blocks
from drupelet_host.pruning.structure.coupling_check import check_against_flow, check_coupling, check_subset
from drupelet_host.pruning.structure.flow_candidates import FlowCandidate, make_flow_candidate
from drupelet_host.pruning.structure.slices import Importance, Slice, score_slices
from drupelet_host.pruning.structure.tracing import Coupling, Trace
from drupelet_host.pruning.structure.trial import UNSEEN, Trial
from drupelet_host.pruning.structure.unprunable import IN_THE_OUTPUT, Unprunable
from drupelet_host.torch_models.inputs import ModuleInputs


@dataclass(frozen=True, slots=True)
class GroupCandidate:
    """Coupled channels whose removal can be tried.

    Attributes:
        name: The root layer's, as the model came.
        root: The same, as the layer is called in the traced model.
        channels: How many outputs it has.
        slices: What they are in each layer.
        blocks: How they are split.
        trace: What says which slices go with some of the channels.
    """

    name: str
    root: str
    channels: int
    slices: tuple[Slice, ...]
    blocks: Blocks
    trace: Trace

    @property
    def multiple(self) -> int:
        """How many channels go at once."""
        return self.blocks.count

    @property
    def minimum(self) -> int:
        """How many channels must stay."""
        return self.blocks.minimum

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

    def select(
        self, model: nn.Module, count: int, *, importance: Importance, largest: bool = False
    ) -> tuple[Slice, ...]:
        """Return the slices of the channels that `choose` returns.

        Args:
            model: The model.
            count: The number of channels.
            importance: The measure of importance.
            largest: Whether to choose the most important channels instead.

        Raises:
            ModelError: Torch-Pruning cannot follow them.
        """
        chosen = self.choose(model, count, importance=importance, largest=largest)
        return self.trace.coupling(self.root, chosen).slices


Candidate = GroupCandidate | FlowCandidate


def find_candidate(model: nn.Module, trace: Trace, root: str) -> Candidate | Unprunable:
    """Find the candidate at a root, after a check of what Torch-Pruning says against every layer.

    Where the model's code divides the channels, and where Torch-Pruning says something else than the operators do, it
    is not asked.

    Args:
        model: The model, its layers rewritten.
        trace: Its dependencies.
        root: The root layer's name in the trace.

    Returns:
        The candidate, or why its channels must stay.
    """
    component = trace.component(root)
    if component is not None and component.split and not component.reason and not trace.is_attention(root):
        return make_flow_candidate(model, trace.public.get(root, root), component)
    candidate = _ask_torch_pruning(model, trace, root)
    if component is None or component.reason or trace.is_attention(root):
        told = isinstance(candidate, Unprunable) and component is not None and component.reason
        return Unprunable(component.reason) if told and component is not None else candidate
    if isinstance(candidate, Unprunable) or not check_against_flow(model, candidate.slices, component):
        return make_flow_candidate(model, trace.public.get(root, root), component)
    return candidate


def find_sound(
    model: nn.Module, trace: Trace, samples: ModuleInputs
) -> tuple[tuple[Candidate, ...], Mapping[str, str]]:
    """Try every candidate.

    Args:
        model: The model, its layers rewritten.
        trace: Its dependencies.
        samples: Real samples, batch first.

    Returns:
        The candidates that passed their trial, and the faults of the others by the name of every layer in them.
    """
    candidates, faults = list[Candidate](), dict[str, str]()
    trial = Trial(model, samples)
    for root, candidate in _find_all(model, trace):
        checked = _alone(model, trial, _checked(model, trace, candidate))
        if isinstance(checked, Unprunable):
            layers = [] if isinstance(candidate, Unprunable) else [piece.layer for piece in candidate.slices]
            faults.update((layer, checked.reason) for layer in layers if layer not in faults)
            # Its own reason tells more than that of a group whose channels it takes.
            faults[root] = checked.reason
        else:
            candidates.append(checked)
    sound = _sift(candidates, lambda some: trial.fault(_half_of(model, some)), faults)
    visible = tuple(_visible(sound, trial, partial(_half_of, model), faults))
    # What an operator does to channels tells more than the error of the model's code without them.
    followed = {layer: component.reason for layer in faults if (component := trace.component(layer)) is not None}
    return visible, faults | {layer: reason for layer, reason in followed.items() if reason}


def _find_all(model: nn.Module, trace: Trace) -> Iterator[tuple[str, Candidate | Unprunable]]:
    """Find a candidate at every root that no other candidate covers."""
    covered: set[str] = set()
    for root in trace.roots():
        if root in covered:
            continue
        candidate = find_candidate(model, trace, root)
        yield root, candidate
        covered.add(root)
        if not isinstance(candidate, Unprunable):
            covered.update(piece.layer for piece in candidate.slices if piece.side == "out")


def _ask_torch_pruning(model: nn.Module, trace: Trace, root: str) -> GroupCandidate | Unprunable:
    coupling: Coupling | Unprunable = trace.whole(root)
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
    return GroupCandidate(trace.public[root], root, channels, coupling.slices, blocks, trace)


def _checked(model: nn.Module, trace: Trace, candidate: Candidate | Unprunable) -> Candidate | Unprunable:
    if isinstance(candidate, Unprunable):
        return candidate
    if candidate.multiple == candidate.channels:
        return Unprunable(f"its {candidate.channels} channels can only go all together")
    if candidate.half == 0:
        return Unprunable(f"it has {candidate.channels} channels: {candidate.minimum} must stay")
    if isinstance(candidate, FlowCandidate):
        return candidate
    chosen = candidate.choose(model, candidate.half, importance="l2")
    return check_subset(candidate.slices, trace.coupling(candidate.root, chosen).slices, chosen) or candidate


def _alone(model: nn.Module, trial: Trial, candidate: Candidate | Unprunable) -> Candidate | Unprunable:
    """Try a group that the model's code divides: that code may count on the width of another group.

    Together with that group the sizes would fit by chance.
    """
    if not isinstance(candidate, FlowCandidate) or not candidate.component.split:
        return candidate
    fault = trial.fault(_half_of(model, [candidate]))
    return Unprunable(fault) if fault else candidate


def _visible(
    candidates: Sequence[Candidate],
    trial: Trial,
    half_of: Callable[..., Sequence[Slice]],
    faults: dict[str, str],
) -> list[Candidate]:
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
    candidates: Sequence[Candidate], fault: Callable[[Sequence[Candidate]], str], faults: dict[str, str]
) -> list[Candidate]:
    """Those that stand the trial together: all at once where they do, else by halves down to the ones that do not."""
    reason = fault(candidates) if candidates else ""
    if not reason:
        return list(candidates)
    if len(candidates) == 1:
        faults.update((piece.layer, reason) for piece in candidates[0].slices if piece.layer not in faults)
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


def _half_of(model: nn.Module, candidates: Sequence[Candidate], *, largest: bool = False) -> list[Slice]:
    slices: list[Slice] = []
    for candidate in candidates:
        slices.extend(candidate.select(model, candidate.half, importance="l2", largest=largest))
    return slices
