"""One model's numbers: outcomes counted and stages timed, over a telemetry window and since the start."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType

from drupelet_agent.serving.job import Outcome, StageTimes
from drupelet_agent.store.records import Activation
from drupelet_agent.telemetry.durations import Durations
from drupelet_agent.telemetry.histogram import Histogram
from drupelet_shared.contract.messages import ModelTelemetry

STAGES = ("queue", "decode", "inference", "encode", "total")


class ModelMetrics:
    """Collects a window until `take()`, which starts the next one, and what Prometheus adds up by itself."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._durations = {stage: Durations() for stage in STAGES}
        self._start()

    @property
    def totals(self) -> Mapping[str, int]:
        """Requests by outcome since the start."""
        return MappingProxyType(self._totals)

    @property
    def durations(self) -> Mapping[str, Durations]:
        """Each of `STAGES` since the start."""
        return MappingProxyType(self._durations)

    def _start(self) -> None:
        self._since_s = time.monotonic()
        self._outcomes: dict[str, int] = {}
        self._windows = {stage: Histogram() for stage in STAGES}

    def record(self, outcome: Outcome) -> None:
        """Count the end of one request."""
        for counts in (self._outcomes, self._totals):
            counts[outcome.code] = counts.get(outcome.code, 0) + 1
        if outcome.times is not None:
            self._record_times(outcome.times)

    def _record_times(self, times: StageTimes) -> None:
        values_ms = (times.queue_ms, times.decode_ms, times.inference_ms, times.encode_ms, times.total_ms)
        for stage, value_ms in zip(STAGES, values_ms, strict=True):
            self._windows[stage].record(value_ms)
            self._durations[stage].record(value_ms / 1e3)

    def take(self, activation: Activation) -> ModelTelemetry:
        """The window that ends now."""
        percentiles = {stage: histogram.percentiles() for stage, histogram in self._windows.items()}
        telemetry = ModelTelemetry(
            model=activation.model,
            version=activation.version,
            variant=activation.variant,
            window_s=round(time.monotonic() - self._since_s, 3),
            outcomes=self._outcomes,
            totals=dict(self._totals),
            queue=percentiles["queue"],
            decode=percentiles["decode"],
            inference=percentiles["inference"],
            encode=percentiles["encode"],
            total=percentiles["total"],
        )
        self._start()
        return telemetry
