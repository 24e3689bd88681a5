"""How the compiler says what it is doing, without knowing who listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Observer(Protocol):
    """Is told what happens while a model is compiled; must return quickly."""

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
            what: The latest piece of work.
            done: The pieces that are done.
            total: All pieces.
        """

    def decided(self, message: str) -> None:
        """Something was kept, rolled back or left out; the message says why."""

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:
        """Report that a pass is done.

        Args:
            name: The name of the pass.
            seconds: Its duration.
            metrics: Its measurements.
        """


class SilentObserver:
    """Says nothing."""

    def pass_started(self, name: str, *, position: int, count: int) -> None:
        """Ignore it; see `Observer.pass_started`."""

    def progressed(self, what: str, *, done: int, total: int) -> None:
        """Ignore it; see `Observer.progressed`."""

    def decided(self, message: str) -> None:
        """Ignore it."""

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:
        """Ignore it; see `Observer.pass_finished`."""


SILENT = SilentObserver()
