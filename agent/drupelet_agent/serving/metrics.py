"""The numbers of one model: outcomes counted and stages timed, over a telemetry window and since the start."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType

from drupelet_agent.serving.job import Outcome, StageTimes
from drupelet_agent.store.records import Activation
from drupelet_agent.telemetry.durations import Durations
from drupelet_agent.telemetry.histogram import Histogram
from drupelet_agent.telemetry.label_counts import LabelCounts
from drupelet_shared.contract.messages import ModelTelemetry
from drupelet_shared.contract.wire import OK_CODE

STAGES = ("queue", "decode", "inference", "encode", "total")


class ModelMetrics:
    """Counts and times requests, in windows that `end_window` ends and in totals that never end."""

    def __init__(self, *, counts_labels: bool = False) -> None:
        """Start the first window.

        Args:
            counts_labels: Whether the labels in replies with boxes, and verdicts, are counted.
        """
        self._labels = LabelCounts() if counts_labels else None
        self._totals: dict[str, int] = {}
        self._durations = {stage: Durations() for stage in STAGES}
        self._start_window()

    @property
    def totals(self) -> Mapping[str, int]:
        """Requests by outcome since the start."""
        return MappingProxyType(self._totals)

    @property
    def durations(self) -> Mapping[str, Durations]:
        """The durations of each of `STAGES` since the start."""
        return MappingProxyType(self._durations)

    def record(self, outcome: Outcome) -> None:
        """Count the end of one request."""
        for counts in (self._outcomes, self._totals):
            counts[outcome.code] = counts.get(outcome.code, 0) + 1
        if self._labels is not None and outcome.code == OK_CODE and outcome.payload is not None:
            self._labels.record(outcome.payload)
        if outcome.times is not None:
            self._record_times(outcome.times)

    def end_window(self, activation: Activation) -> ModelTelemetry:
        """Return the window that ends now, and start the next one."""
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
            labels=None if self._labels is None else self._labels.end_window(),
        )
        self._start_window()
        return telemetry

    def _start_window(self) -> None:
        self._since_s = time.monotonic()
        self._outcomes: dict[str, int] = {}
        self._windows = {stage: Histogram() for stage in STAGES}

    def _record_times(self, times: StageTimes) -> None:
        values_ms = (times.queue_ms, times.decode_ms, times.inference_ms, times.encode_ms, times.total_ms)
        for stage, value_ms in zip(STAGES, values_ms, strict=True):
            self._windows[stage].record(value_ms)
            self._durations[stage].record(value_ms / 1e3)
