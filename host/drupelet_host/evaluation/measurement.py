"""The measurement of one model file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drupelet_host.latency.machine import WORKSTATION, is_modelled
from drupelet_host.latency.source import LatencyEstimate, estimate_of
from drupelet_shared.timing import Timing


@dataclass(frozen=True, slots=True)
class Measurement:
    """One model file, measured in its engine on this machine.

    Attributes:
        path: The model file.
        size_bytes: The size of the file, and of the files beside it that belong to the model.
        metric: The metric's value; higher is better.
        timing: The latency of one inference.
        peak_memory_bytes: Peak resident memory of a process that runs the model; None where it was not measured.
        latency: What the recipe's latency source told of the model; None where this machine is the source.
        modelled: What a model of the target's processor tells, to be shown beside what was measured; None without one.
        weakest: The output and channels that decide the metric, with their score, where the metric is fidelity.
    """

    path: Path
    size_bytes: int
    metric: float
    timing: Timing
    peak_memory_bytes: int | None
    latency: LatencyEstimate | None = None
    modelled: LatencyEstimate | None = None
    weakest: str | None = None

    @property
    def target_latency(self) -> LatencyEstimate:
        """The latency by which decisions are made; that on this machine where no other source was asked."""
        return self.latency or estimate_of(self.timing, source=WORKSTATION)

    @property
    def measured_latency(self) -> LatencyEstimate:
        """The latency that was measured: on a board, else on this machine; never what a model of a processor told."""
        latency = self.target_latency
        return estimate_of(self.timing, source=WORKSTATION) if is_modelled(latency.source) else latency
