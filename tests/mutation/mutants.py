"""Lists the mutants of a module: each differs from it by one operator, constant or keyword (Cosmic Ray's operators)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from parso.tree import NodeOrLeaf

# These give the same program for the values that are compared here: small integers, members of an enumeration, None.
_EQUIVALENT = ("ReplaceComparisonOperator_Eq_Is", "ReplaceComparisonOperator_NotEq_IsNot", "_Is_Eq", "_IsNot_NotEq")

_Position = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes:
        module: The module, relative to its folder on the import path.
        operator: The name of Cosmic Ray's operator.
        occurrence: Which of the places that the operator can change.
        line: The line of the change.
    """

    module: Path
    operator: str
    occurrence: int
    line: int

    def apply(self, source: str) -> str:
        """Return the source of the mutated module."""
        mutated = mutate_code(source, get_operator(self.operator)(), self.occurrence)
        if mutated is None:
            raise ValueError(f"{self.module}: {self.operator} has no occurrence {self.occurrence}")
        return str(mutated)


def list_mutants(module: Path, source: str) -> Iterator[Mutant]:
    """List the mutants of a module that could change what it does.

    Args:
        module: Its path, as the mutants name it.
        source: Its text.

    Yields:
        The mutants, by operator and then by position. Left out are annotations, type aliases, log calls, options of
        dataclasses, markers among parameters, and changes that give the same program.
    """
    inert = _inert_ranges(ast.parse(source))
    tree = get_ast(source)
    for name in operator_names():
        operator_class = get_operator(name)
        if operator_class.arguments() or name.endswith(_EQUIVALENT) or "NoOp" in name:
            continue
        operator = operator_class()
        positions = [
            (start, _is_marker(node)) for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node)
        ]
        for occurrence, (position, is_marker) in enumerate(positions):
            if not is_marker and not any(start <= position < end for start, end in inert):
                yield Mutant(module, name, occurrence, position[0])


def _is_marker(node: NodeOrLeaf) -> bool:
    """Return whether a node is the `*` or `/` among parameters, which Cosmic Ray takes for an operator."""
    return node.type == "operator" and node.parent is not None and node.parent.type == "parameters"


def _inert_ranges(tree: ast.Module) -> list[tuple[_Position, _Position]]:
    """Find what no test can observe: annotations, type aliases, log calls and options of dataclasses."""
    nodes: list[ast.expr | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes.append(node.returns)
        elif isinstance(node, ast.arg | ast.AnnAssign):
            nodes.append(node.annotation)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("log.", "dataclass")):
            nodes.append(node)
    nodes += [node.value for node in tree.body if isinstance(node, ast.Assign) and _is_type_alias(node.value)]
    return [
        ((node.lineno, node.col_offset), (node.end_lineno or node.lineno, node.end_col_offset or 0))
        for node in nodes
        if node is not None
    ]


def _is_type_alias(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.BitOr) and _is_type_alias(node.left) and _is_type_alias(node.right)
    return isinstance(node, ast.Name | ast.Attribute | ast.Subscript) or ast.unparse(node) == "None"
