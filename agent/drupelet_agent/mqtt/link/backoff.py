"""How long to wait before the next attempt to connect: exponential backoff with full jitter.

https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from drupelet_agent.mqtt.status import ConnectionProblem

_GROWTH = 3.0
_FIRST_CEILING_S = 0.5
_LONGEST_S = 30.0
# A person must change something first, so asking often only fills logs.
_LONGEST_REFUSED_S = 300.0
# A client that was taken over and reconnects at once takes over in its turn, for ever. One that stays away for minutes
# can be kept off the air with a single connection by any account that knows its client identifier.
_FIRST_TAKEN_OVER_S = 3.0
_LONGEST_TAKEN_OVER_S = 20.0
# Two clients in turn are connected for as long as the other one waits, so only a longer time shows that the other is
# gone.
_ALONE_S = 120.0
# To ask a broker that is away costs one packet, and it should be found soon after it is back. So these attempts are not
# spaced further, and lengthen no later wait.
_LONGEST_UNREACHABLE_S = 5.0
_MOST_UNREACHABLE = 2
# A connection takes back one step of the backoff for each of these seconds that it lasted: on a link that drops every
# few seconds the client must not stay away for longer than it is connected.
_STEP_S = 2.0
LASTED_S = 30.0

_CEILINGS: Mapping[ConnectionProblem, tuple[float, float]] = {
    ConnectionProblem.UNREACHABLE: (_FIRST_CEILING_S, _LONGEST_UNREACHABLE_S),
    ConnectionProblem.ACCOUNT_REFUSED: (_FIRST_CEILING_S, _LONGEST_REFUSED_S),
    ConnectionProblem.PROTOCOL_VERSION: (_FIRST_CEILING_S, _LONGEST_REFUSED_S),
    ConnectionProblem.REFUSED: (_FIRST_CEILING_S, _LONGEST_REFUSED_S),
}


class Backoff:
    """Counts the attempts and connections that ended early, and gives the next wait.

    A connection resets the count only when it has lasted: a broker that accepts and disconnects at once counts as a
    failure. Sessions that another client took over have a count of their own.
    """

    def __init__(self, *, uniform: Callable[[float, float], float] = random.uniform) -> None:
        """Start with no failure.

        Args:
            uniform: Draws a number between two others.
        """
        self._uniform = uniform
        self.failures = 0
        self._takeovers = 0

    def connection_ended(self, lasted_s: float) -> None:
        """Take back failures for a connection that lasted so many seconds."""
        self.failures = 0 if lasted_s >= LASTED_S else max(0, self.failures - int(lasted_s / _STEP_S))
        if lasted_s >= _ALONE_S:
            self._takeovers = 0

    def ceiling_s(self, problem: ConnectionProblem) -> float:
        """Count a failure, and return the longest wait after it in seconds."""
        if problem is ConnectionProblem.CLIENT_ID_TAKEN:
            self._takeovers += 1
            return min(_LONGEST_TAKEN_OVER_S, _FIRST_TAKEN_OVER_S * _GROWTH ** min(self._takeovers - 1, 16))
        first_s, longest_s = _CEILINGS.get(problem, (_FIRST_CEILING_S, _LONGEST_S))
        ceiling_s: float = min(longest_s, first_s * _GROWTH ** min(self.failures, 16))
        if problem is not ConnectionProblem.UNREACHABLE or self.failures < _MOST_UNREACHABLE:
            self.failures += 1
        return ceiling_s

    def next_s(self, problem: ConnectionProblem) -> float:
        """Count a failure, and draw the wait after it in seconds."""
        return self._uniform(0.0, self.ceiling_s(problem))
