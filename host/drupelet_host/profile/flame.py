"""A profile as a flame graph turned upside down: what runs inside of what, and how wide its time is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from drupelet_host.profile.totals import operators_ms, total_by_type
from drupelet_shared.contract.commands import OperatorTime, ProfileReport

# Types beyond these share the last colour.
COLOURS = 8
_SEPARATOR = "/"


@dataclass(frozen=True, slots=True)
class Block:
    """One rectangle.

    Attributes:
        left: Where it starts, as a share of the whole width, 0 to 1.
        width: Its share of it.
        depth: Its row, 0 is the whole inference.
        label: What is written on it.
        title: What is said of it.
        colour: 0 to `COLOURS` - 1 for an operator by its type; None for what only groups.
    """

    left: float
    width: float
    depth: int
    label: str
    title: str
    colour: int | None = None


@dataclass(slots=True)
class _Node:
    """A scope of the graph, or an operator; children in the order they ran."""

    label: str
    operator: OperatorTime | None = None
    total_ms: float = 0.0
    children: list[_Node] = field(default_factory=list)


def draw_flame(report: ProfileReport) -> list[Block]:
    """The blocks, from the top down: the inference, the scopes that operators' names tell of, the operators."""
    root = _build(report)
    whole_ms = root.total_ms or 1.0
    colours = {total.type: min(place, COLOURS - 1) for place, total in enumerate(total_by_type(report))}
    return list(_lay_out(root, left_ms=0.0, whole_ms=whole_ms, depth=0, colours=colours))


def _build(report: ProfileReport) -> _Node:
    root = _Node(report.model, total_ms=operators_ms(report))
    nodes: dict[int, _Node] = {}
    for position, operator in enumerate(report.operators):
        node = _Node(operator.name.rpartition(_SEPARATOR)[2] or operator.name, operator, operator.mean_ms)
        nodes[position] = node
        if operator.parent is not None and operator.parent in nodes:
            nodes[operator.parent].children.append(node)
            continue
        scope = root
        for part in _scopes(operator.name):
            scope = _enter(scope, part)
            scope.total_ms += operator.mean_ms
        scope.children.append(node)
    return root


def _scopes(name: str) -> list[str]:
    """The modules in an operator's name, as exporters write them: "/layer1/layer1.0/conv1/Conv"."""
    return [part for part in name.split(_SEPARATOR)[:-1] if part]


def _enter(scope: _Node, part: str) -> _Node:
    """The scope of that name, if it is the one that ran last; a new one else."""
    last = scope.children[-1] if scope.children else None
    if last is None or last.operator is not None or last.label != part:
        last = _Node(part)
        scope.children.append(last)
    return last


def _lay_out(node: _Node, *, left_ms: float, whole_ms: float, depth: int, colours: dict[str, int]) -> Iterator[Block]:
    share = node.total_ms / whole_ms
    operator = node.operator
    about = node.label if operator is None else f"{operator.name}, {operator.type}"
    if operator is not None and operator.output:
        about += f", gives {operator.output}"
    yield Block(
        left=left_ms / whole_ms,
        width=share,
        depth=depth,
        label=node.label,
        title=f"{about}: {node.total_ms:.3f} ms, {share:.1%}",
        colour=None if operator is None else colours[operator.type],
    )
    for child in node.children:
        yield from _lay_out(child, left_ms=left_ms, whole_ms=whole_ms, depth=depth + 1, colours=colours)
        left_ms += child.total_ms
