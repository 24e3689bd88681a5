"""Waits until nothing speaks against a turn of measuring: serving comes first, and a throttled board says nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from drupelet_agent.measuring.gate import GateState, ServingGate
from drupelet_shared.errors import MeasuringPausedError

Reason = Literal["contract", "requests", "throttled", "measuring"]

WORDS: dict[Reason, str] = {
    "contract": "a served model's contract is at risk",
    "requests": "requests are being answered",
    "throttled": "the board is throttled",
    "measuring": "a model is being measured",
}
_RETRY_S = 0.005
_OBSERVE_S = 1.0


class QuietTime:
    """Lets turns begin while the device is quiet, and adds up what it waited for.

    Attributes:
        waits_s: The seconds waited, by reason.
    """

    def __init__(
        self,
        gate: ServingGate,
        *,
        is_throttled: Callable[[], bool],
        is_measuring: Callable[[], bool],
        max_wait_s: float,
        observe: Callable[[str], None],
    ) -> None:
        """Watch a device.

        Args:
            gate: What is served.
            is_throttled: Returns whether the firmware slows the processor down now.
            is_measuring: Returns whether a model is being measured by another process.
            max_wait_s: The most seconds to wait altogether.
            observe: Called once a second of waiting with the reason, for people.
        """
        self._gate = gate
        self._is_throttled = is_throttled
        self._is_measuring = is_measuring
        self._max_wait_s = max_wait_s
        self._observe = observe
        self.waits_s: dict[Reason, float] = {}

    @property
    def waited_s(self) -> float:
        """The seconds waited for all reasons."""
        return sum(self.waits_s.values())

    def wait(self) -> GateState:
        """Return once a turn may begin, with the state of serving at that moment.

        Raises:
            MeasuringPausedError: The most seconds to wait are over.
        """
        observed_s = time.monotonic()
        while True:
            state = self._gate.read()
            reason = self._reason(state)
            if reason is None:
                self._gate.note_turn()
                return state
            start_s = time.monotonic()
            time.sleep(_RETRY_S)
            self.add(reason, time.monotonic() - start_s)
            if time.monotonic() - observed_s >= _OBSERVE_S:
                observed_s = time.monotonic()
                self._observe(f"{WORDS[reason]}: waited {self.waited_s:.0f} of at most {self._max_wait_s:g} s")

    def was_disturbed(self, before: GateState, seconds: float) -> bool:
        """Return whether a turn does not count, and add its time to what was waited.

        Args:
            before: What `wait` returned before the turn.
            seconds: How long the turn took.

        Raises:
            MeasuringPausedError: The most seconds to wait are over.
        """
        self._gate.note_turn()
        after = self._gate.read()
        if after.started != before.started:
            self.add("requests", seconds)
        elif self._is_throttled():
            self.add("throttled", seconds)
        elif self._is_measuring():
            self.add("measuring", seconds)
        else:
            return False
        return True

    def add(self, reason: Reason, seconds: float) -> None:
        """Add seconds that were lost.

        Raises:
            MeasuringPausedError: The most seconds to wait are over.
        """
        self.waits_s[reason] = self.waits_s.get(reason, 0.0) + seconds
        if self.waited_s > self._max_wait_s:
            longest = max(self.waits_s, key=lambda one: self.waits_s[one])
            raise MeasuringPausedError(
                f"command measure: found no quiet time: waited {self.waited_s:.0f} s, the limit is "
                f"{self._max_wait_s:g} s, most of it because {WORDS[longest]}; measure at a quieter time or on another "
                "board, or allow more seconds (max_wait_s)"
            )

    def _reason(self, state: GateState) -> Reason | None:
        if state.held:
            return "contract"
        if state.is_busy:
            return "requests"
        if self._is_throttled():
            return "throttled"
        return "measuring" if self._is_measuring() else None
