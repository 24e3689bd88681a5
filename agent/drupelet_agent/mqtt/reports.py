"""Keeps what is wrong with a connection now, and passes each kind of problem on once."""

from __future__ import annotations

from collections.abc import Callable

from drupelet_agent.mqtt.status import ConnectionEvent, ConnectionProblem

# Each of these is an event of its own and says nothing of the connection's state.
_INDEPENDENT = frozenset({ConnectionProblem.PUBLICATION_DROPPED})


class ProblemReports:
    """The current problem of a connection, and the kinds of problems that were passed on.

    Attributes:
        problem: The current problem; None while all is well.
        explanation: One sentence on it for people; empty while all is well.
    """

    def __init__(self, on_event: Callable[[ConnectionEvent], None] | None) -> None:
        """Start without a connection.

        Args:
            on_event: Receives each kind of problem once until a connection has lasted; None without an observer.
        """
        self._on_event = on_event
        self._known: set[ConnectionProblem] = set()
        self.problem: ConnectionProblem | None = None
        self.explanation = "no connection was tried yet"

    def report(self, problem: ConnectionProblem, message: str) -> None:
        """Take note of a problem, and pass it on unless its kind is known.

        Args:
            problem: Its kind.
            message: One sentence for people.
        """
        if problem not in _INDEPENDENT:
            self.problem, self.explanation = problem, message
            if problem in self._known:
                return
            self._known.add(problem)
        if self._on_event is not None:
            self._on_event(ConnectionEvent(problem, message))

    def connected(self) -> None:
        """Take note that a connection was accepted."""
        self.problem, self.explanation = None, ""

    def lasted(self) -> None:
        """Take note that a connection has lasted, so that a problem that comes again is news."""
        self._known.clear()
