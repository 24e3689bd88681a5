"""How the compiler says what it is doing, without knowing who listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Observer(Protocol):
    """Is told what happens while a model is compiled; must return quickly."""

    def pass_started(self, name: str, *, position: int, count: int) -> None:
        """A pass begins, the `position`-th (from 1) of `count`."""

    def progressed(self, what: str, *, done: int, total: int) -> None:
        """Inside the current pass, `done` of `total` pieces of work are done; `what` is the latest."""

    def decided(self, message: str) -> None:
        """Something was kept, rolled back or left out; the message says why."""

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:
        """The pass is done, with what it measured."""


class SilentObserver:
    """Says nothing."""

    def pass_started(self, name: str, *, position: int, count: int) -> None:
        """Ignore it."""

    def progressed(self, what: str, *, done: int, total: int) -> None:
        """Ignore it."""

    def decided(self, message: str) -> None:
        """Ignore it."""

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:
        """Ignore it."""


SILENT = SilentObserver()
