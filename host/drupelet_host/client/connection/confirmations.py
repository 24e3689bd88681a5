"""The broker's answers to published messages: accepted, or refused with a reason."""

from __future__ import annotations

import threading

from drupelet_host.client.connection.transport import ConfirmationHandler


class Confirmations:
    """Matches the broker's answers to their handlers by packet identifier; safe to use from several threads.

    An answer may arrive before its handler is registered, because the network thread receives it while the publisher
    still waits for the identifier. Each handler is called exactly once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: dict[int, ConfirmationHandler] = {}
        self._early_answers: dict[int, str | None] = {}

    def expect(self, mid: int, on_confirmed: ConfirmationHandler) -> None:
        """Register the handler of a message's answer.

        Args:
            mid: The message's packet identifier.
            on_confirmed: Called with None, or with the reason of a refusal; at once if the answer has arrived already.
        """
        with self._lock:
            if mid not in self._early_answers:
                self._handlers[mid] = on_confirmed
                return
            refusal = self._early_answers.pop(mid)
        on_confirmed(refusal)

    def resolve(self, mid: int, refusal: str | None) -> None:
        """Hand over the broker's answer; `refusal` is None for a message that it accepted."""
        with self._lock:
            on_confirmed = self._handlers.pop(mid, None)
            if on_confirmed is None:
                self._early_answers[mid] = refusal
                return
        on_confirmed(refusal)
