"""The command of a compiler with this device in its loop: measure."""

from __future__ import annotations

from drupelet_agent.commands.context import Context
from drupelet_agent.commands.installing import FetchProgress
from drupelet_agent.delivery.sources import obtained
from drupelet_agent.measuring import candidate
from drupelet_agent.measuring.gate import ServingGate
from drupelet_shared.contract.measuring import MeasureReport, MeasureRequest


def measure(request: MeasureRequest, context: Context) -> MeasureReport:
    """Time a candidate in turns with its reference, and keep nothing of it."""
    return candidate.measure(
        request,
        context.config,
        open_archive=lambda: obtained(request.source, context.config, on_bytes=FetchProgress(context)),
        gate=ServingGate(context.gate_descriptor),
        observe=context.observe,
    )
