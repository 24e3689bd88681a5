"""The protocol by which the compiler reports progress and decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Observer(Protocol):
    """Receives the progress and decisions of a compile; its methods must return quickly."""

    def pass_started(self, name: str, *, position: int, count: int) -> None:
        """Report that a pass starts.

        Args:
            name: The name of the pass.
            position: Its position, from 1.
            count: The number of passes.
        """

    def progressed(self, what: str, *, done: int, total: int) -> None:
        """Report progress within the current pass.

        Args:
            what: The latest finished piece of work.
            done: The number of finished pieces.
            total: The number of all pieces.
        """

    def decided(self, message: str) -> None:
        """Report that something was kept, rolled back or left out; the message states why."""

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:
        """Report that a pass is done.

        Args:
            name: The name of the pass.
            seconds: Its duration.
            metrics: Its measurements.
        """


class NotingObserver:
    """Passes everything on to another observer and keeps the decisions."""

    def __init__(self, observer: Observer) -> None:
        """Start with no decisions.

        Args:
            observer: Gets everything.
        """
        self._observer = observer
        self.decisions: list[str] = []

    def pass_started(self, name: str, *, position: int, count: int) -> None:
        """Pass it on; see `Observer.pass_started`."""
        self._observer.pass_started(name, position=position, count=count)

    def progressed(self, what: str, *, done: int, total: int) -> None:
        """Pass it on; see `Observer.progressed`."""
        self._observer.progressed(what, done=done, total=total)

    def decided(self, message: str) -> None:
        """Keep the message and pass it on."""
        self.decisions.append(message)
        self._observer.decided(message)

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:
        """Pass it on; see `Observer.pass_finished`."""
        self._observer.pass_finished(name, seconds=seconds, metrics=metrics)


class SilentObserver:
    """An observer that ignores everything."""

    def pass_started(self, name: str, *, position: int, count: int) -> None:
        """Ignore it; see `Observer.pass_started`."""

    def progressed(self, what: str, *, done: int, total: int) -> None:
        """Ignore it; see `Observer.progressed`."""

    def decided(self, message: str) -> None:
        """Ignore it."""

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:
        """Ignore it; see `Observer.pass_finished`."""


SILENT = SilentObserver()
