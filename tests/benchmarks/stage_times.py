"""Where the agent says its time went: the stages of its telemetry over many windows."""

from __future__ import annotations

from benchmarks.requester import Requester
from benchmarks.stage import TELEMETRY_INTERVAL_S, Stage
from drupelet_shared.contract.messages import ModelTelemetry, Percentiles

_STAGES = ("queue", "decode", "inference", "encode", "total")


class StageTimes:
    """Collects the model's telemetry while its requester is driven."""

    def __init__(self, requester: Requester, stage: Stage, *, model: str) -> None:
        self._requester = requester
        self._windows: list[ModelTelemetry] = []
        requester.listen(stage.topics.model_telemetry(model), self._heard)

    def restart(self) -> None:
        """Forget every request before now."""
        self._wait_for_idle_window()
        self._windows.clear()

    def medians_ms(self) -> dict[str, float]:
        """Return each stage's median since `restart`, as the windows' medians weighted by their requests."""
        self._wait_for_idle_window()
        return {stage: _weighted_median([getattr(window, stage) for window in self._windows]) for stage in _STAGES}

    def _heard(self, payload: bytes) -> None:
        self._windows.append(ModelTelemetry.model_validate_json(payload))

    def _wait_for_idle_window(self) -> None:
        # A window without requests says that all windows with some have arrived.
        seen = len(self._windows)
        self._requester.run_until(
            lambda: any(not window.outcomes for window in self._windows[seen:]),
            what="see an idle telemetry window",
            timeout_s=10 * TELEMETRY_INTERVAL_S,
        )


def _weighted_median(windows: list[Percentiles | None]) -> float:
    ordered = sorted((window.p50_ms, window.count) for window in windows if window is not None)
    wanted, seen = sum(count for _, count in ordered) / 2, 0
    for median_ms, count in ordered:
        seen += count
        if seen >= wanted:
            return median_ms
    return 0.0
