"""One model's numbers over one telemetry window: outcomes counted, stages timed."""

from __future__ import annotations

import time

from drupelet_agent.serving.job import Outcome, StageTimes
from drupelet_agent.store.records import Activation
from drupelet_agent.telemetry.histogram import Histogram
from drupelet_shared.messages import ModelTelemetry


class ModelMetrics:
    """Collects until `take()`, which starts the next window."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._since_s = time.monotonic()
        self._outcomes: dict[str, int] = {}
        self._queue, self._decode, self._inference, self._encode, self._total = (Histogram() for _ in range(5))

    def record(self, outcome: Outcome) -> None:
        """Count the end of one request."""
        self._outcomes[outcome.code] = self._outcomes.get(outcome.code, 0) + 1
        if outcome.times is not None:
            self._record_times(outcome.times)

    def _record_times(self, times: StageTimes) -> None:
        self._queue.record(times.queue_ms)
        self._decode.record(times.decode_ms)
        self._inference.record(times.inference_ms)
        self._encode.record(times.encode_ms)
        self._total.record(times.total_ms)

    def take(self, activation: Activation) -> ModelTelemetry:
        """The window that ends now."""
        telemetry = ModelTelemetry(
            model=activation.model,
            version=activation.version,
            variant=activation.variant,
            window_s=round(time.monotonic() - self._since_s, 3),
            outcomes=self._outcomes,
            queue=self._queue.percentiles(),
            decode=self._decode.percentiles(),
            inference=self._inference.percentiles(),
            encode=self._encode.percentiles(),
            total=self._total.percentiles(),
        )
        self._start()
        return telemetry
