"""A profile as an icicle graph: nested scopes and operators, as wide as their time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from drupelet_host.profile.totals import operators_ms, total_by_type
from drupelet_shared.contract.measuring import OperatorTime, ProfileReport

# Operator types beyond these share the last colour.
COLOURS = 8
_SEPARATOR = "/"


@dataclass(frozen=True, slots=True)
class Block:
    """One rectangle of the graph.

    Attributes:
        left: The left edge, as a share of the whole width, 0 to 1.
        width: The width, as a share of the whole width, 0 to 1.
        depth: The row; 0 is the whole inference.
        label: The text on the rectangle.
        title: The text of its tooltip.
        colour: The colour of an operator's type, 0 to `COLOURS` - 1; None for a scope.
    """

    left: float
    width: float
    depth: int
    label: str
    title: str
    colour: int | None = None


@dataclass(slots=True)
class _Node:
    """A scope of the graph or an operator, with its children in the order of execution."""

    label: str
    operator: OperatorTime | None = None
    total_ms: float = 0.0
    children: list[_Node] = field(default_factory=list)


def draw_flame(report: ProfileReport) -> list[Block]:
    """Return the blocks from the top down: the inference, the scopes in the operators' names, the operators."""
    root = _build(report)
    whole_ms = root.total_ms or 1.0
    colours = {total.type: min(place, COLOURS - 1) for place, total in enumerate(total_by_type(report))}
    return list(_lay_out(root, left_ms=0.0, whole_ms=whole_ms, depth=0, colours=colours))


def _build(report: ProfileReport) -> _Node:
    root = _Node(report.model, total_ms=operators_ms(report))
    nodes: dict[int, _Node] = {}
    for position, operator in enumerate(report.operators):
        # Older agents report means alone.
        operator_ms = operator.mean_ms if operator.p50_ms is None else operator.p50_ms
        node = _Node(operator.name.rpartition(_SEPARATOR)[2] or operator.name, operator, operator_ms)
        nodes[position] = node
        if operator.parent is not None and operator.parent in nodes:
            nodes[operator.parent].children.append(node)
            continue
        scope = root
        for part in _scopes(operator.name):
            scope = _enter(scope, part)
            scope.total_ms += operator_ms
        scope.children.append(node)
    return root


def _scopes(name: str) -> list[str]:
    """Return the modules in an operator's name, which exporters write as "/layer1/layer1.0/conv1/Conv"."""
    return [part for part in name.split(_SEPARATOR)[:-1] if part]


def _enter(scope: _Node, part: str) -> _Node:
    """Return the last child scope if it has that name, and a new scope otherwise."""
    last = scope.children[-1] if scope.children else None
    if last is None or last.operator is not None or last.label != part:
        last = _Node(part)
        scope.children.append(last)
    return last


def _lay_out(node: _Node, *, left_ms: float, whole_ms: float, depth: int, colours: dict[str, int]) -> Iterator[Block]:
    share = node.total_ms / whole_ms
    operator = node.operator
    title = node.label if operator is None else f"{operator.name}, {operator.type}"
    if operator is not None and operator.output:
        title += f", output {operator.output}"
    yield Block(
        left=left_ms / whole_ms,
        width=share,
        depth=depth,
        label=node.label,
        title=f"{title}: {node.total_ms:.3f} ms, {share:.1%}",
        colour=None if operator is None else colours[operator.type],
    )
    for child in node.children:
        yield from _lay_out(child, left_ms=left_ms, whole_ms=whole_ms, depth=depth + 1, colours=colours)
        left_ms += child.total_ms
