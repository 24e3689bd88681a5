"""Whether the clock of the device is right; a Raspberry Pi 4 has no clock that runs without power."""

from __future__ import annotations

import ctypes

from drupelet_agent.doctor.findings import Finding

# adjtimex(2): the state of a clock that nothing has set right.
_TIME_ERROR = 5
# Larger than struct timex on any machine; all zeros ask and change nothing.
_TIMEX_BYTES = 512


def is_synchronised() -> bool:
    """Return whether a time service has set the clock, as the kernel knows it."""
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= state < _TIME_ERROR


def examine_clock(*, synchronised: bool, matters: bool) -> Finding:
    """Return a finding about the clock.

    Args:
        synchronised: What `is_synchronised` says.
        matters: Whether anything is decided by date here, as certificates are.
    """
    if synchronised:
        return Finding("clock", "ok", "synchronised")
    repair = "sudo timedatectl set-ntp true, and let the device reach a time server"
    if matters:
        return Finding("clock", "warn", "not synchronised: certificates are judged by a date that may be wrong", repair)
    return Finding("clock", "note", "not synchronised: times in logs may be wrong", repair)
