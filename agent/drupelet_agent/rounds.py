"""Periodic work that goes on after an error of one round."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


class Rounds:
    """Guards the rounds of one periodic task: an error ends its round alone.

    The agent ends when one of its tasks does, and with it every model that serves. A system that has no descriptor,
    thread or memory left for a moment must not have that effect. An error is logged when it first occurs, not in each
    round.
    """

    def __init__(self, work: str) -> None:
        """Start without an error.

        Args:
            work: The name of the task, for the log.
        """
        self._work = work
        self._error: str | None = None

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Run one round; what it raises is logged and goes no further."""
        try:
            yield
        except Exception as error:
            description = f"{type(error).__name__}: {error}"
            if description != self._error:
                log.exception("%s failed in this round, the next one follows", self._work)
            self._error = description
        else:
            if self._error is not None:
                log.info("%s works again", self._work)
            self._error = None
