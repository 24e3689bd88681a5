"""Decides when to ping the broker and when to give it up (MQTT 5, section 3.1.2.10)."""

from __future__ import annotations

from enum import Enum, auto

# The client must send something in each period of the keep alive, so it pings well before the end of one.
_PING_AFTER = 0.75


class KeepAliveAction(Enum):
    """What is due."""

    NOTHING = auto()
    PING = auto()
    GIVE_UP = auto()


class KeepAlive:
    """The keep alive of one connection.

    Attributes:
        interval_s: The keep alive in seconds.
    """

    def __init__(self, interval_s: float) -> None:
        """Start without a ping under way.

        Args:
            interval_s: The keep alive in seconds; a broker that gives no answer to a ping for this long is given up.
        """
        self.interval_s = interval_s
        self._ping_sent_s: float | None = None

    def next_action(self, now_s: float, *, read_s: float, written_s: float, has_unsent: bool) -> KeepAliveAction:
        """Return what is due; a ping is taken as sent.

        Args:
            now_s: The time.
            read_s: When bytes were last read.
            written_s: When the socket last took bytes.
            has_unsent: Whether bytes wait for the socket, whose progress then shows that the broker lives.
        """
        if self._ping_sent_s is not None:
            alive_s = max(self._ping_sent_s, read_s, written_s if has_unsent else self._ping_sent_s)
            return KeepAliveAction.GIVE_UP if now_s - alive_s > self.interval_s else KeepAliveAction.NOTHING
        if now_s - min(read_s, written_s) >= _PING_AFTER * self.interval_s:
            self._ping_sent_s = now_s
            return KeepAliveAction.PING
        return KeepAliveAction.NOTHING

    def answered(self) -> None:
        """Take note of the answer to a ping."""
        self._ping_sent_s = None
