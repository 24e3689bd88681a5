"""How good a model is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a model is: the metric that models are compared at, and top-1 where it has classes."""

    metric: float
    top1: float | None = None
