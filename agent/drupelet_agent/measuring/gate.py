"""The gate between serving and measuring: one page of memory that the agent and the measuring process share.

The agent counts requests and holds the gate while a contract is at risk; the measuring process reads both between two
turns and notes its own. Each field has one writer, and eight bytes are read and written at once, so no lock is needed.
"""

from __future__ import annotations

import mmap
import os
import time
from dataclasses import dataclass
from struct import Struct

_PAGE_BYTES = mmap.PAGESIZE
_COUNT, _TIME = Struct("<Q"), Struct("<d")
_STARTED, _FINISHED, _HELD_UNTIL, _LAST_TURN = 0, 8, 16, 24


@dataclass(frozen=True, slots=True)
class GateState:
    """The gate at one moment.

    Attributes:
        started: Requests that were accepted since the agent started.
        finished: Those of them that were answered.
        held: Whether a contract is at risk.
    """

    started: int
    finished: int
    held: bool

    @property
    def is_busy(self) -> bool:
        """Whether a request waits or is processed."""
        return self.started != self.finished


class ServingGate:
    """Both sides of the gate; times are those of the monotonic clock, which is one for all processes.

    Args:
        descriptor: The shared memory that another process created; None creates it.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Open or create the page.

        Args:
            descriptor: The shared memory that another process created; None creates it.
        """
        if descriptor is None:
            descriptor = os.memfd_create("drupelet-gate")
            os.ftruncate(descriptor, _PAGE_BYTES)
        self.descriptor = descriptor
        self._page = mmap.mmap(descriptor, _PAGE_BYTES)
        self._started = self._finished = 0

    def request_started(self) -> None:
        """Count a request that was accepted."""
        self._started += 1
        _COUNT.pack_into(self._page, _STARTED, self._started)

    def request_finished(self) -> None:
        """Count the end of an accepted request."""
        self._finished += 1
        _COUNT.pack_into(self._page, _FINISHED, self._finished)

    def hold(self, seconds: float) -> None:
        """Let no turn begin for that long."""
        _TIME.pack_into(self._page, _HELD_UNTIL, time.monotonic() + seconds)

    def read(self) -> GateState:
        """Return the state of serving now."""
        # The end first: a request that starts and ends in between must not look like one that never began.
        (finished,) = _COUNT.unpack_from(self._page, _FINISHED)
        (started,) = _COUNT.unpack_from(self._page, _STARTED)
        (held_until_s,) = _TIME.unpack_from(self._page, _HELD_UNTIL)
        return GateState(started, finished, time.monotonic() < held_until_s)

    def note_turn(self) -> None:
        """Note that a turn runs now."""
        _TIME.pack_into(self._page, _LAST_TURN, time.monotonic())

    def measured_within(self, seconds: float) -> bool:
        """Return whether a turn ran in the last so many seconds; what was served meanwhile may have been slower."""
        last_s: float = _TIME.unpack_from(self._page, _LAST_TURN)[0]
        return last_s > 0 and time.monotonic() - last_s < seconds

    def close(self) -> None:
        """Free the page."""
        self._page.close()
        os.close(self.descriptor)
