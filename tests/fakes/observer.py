"""An observer that keeps what it was told."""

from __future__ import annotations

from collections.abc import Mapping


class RecordingObserver:
    def __init__(self) -> None:
        self.passes: list[str] = []
        self.finished: list[str] = []
        self.progress: list[tuple[str, int, int]] = []
        self.decisions: list[str] = []

    def pass_started(self, name: str, *, position: int, count: int) -> None:
        self.passes.append(f"{position}/{count} {name}")

    def progressed(self, what: str, *, done: int, total: int) -> None:
        self.progress.append((what, done, total))

    def decided(self, message: str) -> None:
        self.decisions.append(message)

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:
        assert seconds >= 0
        assert all(isinstance(value, float) for value in metrics.values())
        self.finished.append(name)
