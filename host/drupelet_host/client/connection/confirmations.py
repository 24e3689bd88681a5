"""What the broker says of each published message: taken, or refused and why."""

from __future__ import annotations

import threading
from collections.abc import Callable

OnConfirmed = Callable[[str | None], None]


class Confirmations:
    """Who waits to hear of which message; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, OnConfirmed] = {}
        # The network thread may hear of a message before its publisher has said who waits.
        self._heard: dict[int, str | None] = {}

    def expect(self, mid: int, on_confirmed: OnConfirmed) -> None:
        """Have somebody told, with None or the reason of a refusal; once, and maybe at once.

        Args:
            mid: The message's identifier.
            on_confirmed: Called on either thread; must return quickly.
        """
        with self._lock:
            if mid not in self._heard:
                self._waiting[mid] = on_confirmed
                return
            refusal = self._heard.pop(mid)
        on_confirmed(refusal)

    def heard(self, mid: int, refusal: str | None) -> None:
        """The broker has answered for a message."""
        with self._lock:
            on_confirmed = self._waiting.pop(mid, None)
            if on_confirmed is None:
                self._heard[mid] = refusal
                return
        on_confirmed(refusal)
