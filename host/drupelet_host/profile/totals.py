"""Sums over a profile: by operator type and over all operators."""

from __future__ import annotations

from dataclasses import dataclass

from drupelet_shared.contract.measuring import OperatorTime, ProfileReport


@dataclass(frozen=True, slots=True)
class TypeTotal:
    """All operators of one type.

    Attributes:
        type: The type.
        operators: The number of operators.
        self_ms: Their time in one inference.
        share: Their share of all operators' time, 0 to 1.
    """

    type: str
    operators: int
    self_ms: float
    share: float


def operators_ms(report: ProfileReport) -> float:
    """Return the time of all operators in one inference."""
    return sum(operator.self_ms for operator in report.operators)


def share_of(operator: OperatorTime, report: ProfileReport) -> float:
    """Return an operator's share of all operators' time, 0 to 1."""
    return operator.self_ms / (operators_ms(report) or 1.0)


def total_by_type(report: ProfileReport) -> list[TypeTotal]:
    """Return the totals of all operator types, the slowest first."""
    total_ms = operators_ms(report) or 1.0
    grouped: dict[str, list[float]] = {}
    for operator in report.operators:
        grouped.setdefault(operator.type, []).append(operator.self_ms)
    totals = [TypeTotal(kind, len(times), sum(times), sum(times) / total_ms) for kind, times in grouped.items()]
    return sorted(totals, key=lambda total: (-total.self_ms, total.type))


def slowest(report: ProfileReport) -> list[OperatorTime]:
    """Return the operators, the slowest first."""
    return sorted(report.operators, key=lambda operator: -operator.self_ms)
