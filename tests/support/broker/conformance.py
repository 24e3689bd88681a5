"""The numbered statements of MQTT 5 (appendix B) for a client at QoS 0 and 1 without enhanced authentication."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_Test = TypeVar("_Test", bound=Callable[..., None])

_STATEMENTS = """
1.5.4-1 1.5.4-2 1.5.4-3 1.5.5-1 1.5.7-1
2.1.3-1 2.2.1-2 2.2.1-3 2.2.1-5 2.2.2-1
3.1.0-1 3.1.2-1 3.1.2-2 3.1.2-3 3.1.2-4 3.1.2-9 3.1.2-11 3.1.2-12 3.1.2-13 3.1.2-16 3.1.2-17 3.1.2-18 3.1.2-19 3.1.2-20
3.1.2-21 3.1.2-23 3.1.3-1 3.1.3-2 3.1.3-3 3.1.3-4 3.1.3-11 3.1.3-12
3.2.2-11 3.2.2-14 3.2.2-15 3.2.2-17 3.2.2-18 3.2.2-21
3.3.1-1 3.3.1-2 3.3.1-3 3.3.1-4 3.3.2-1 3.3.2-2 3.3.2-7 3.3.2-8 3.3.2-9 3.3.2-13 3.3.2-14 3.3.2-19
3.3.4-1 3.3.4-6 3.3.4-7 3.3.4-8 3.4.2-1 3.4.2-2 3.4.2-3
3.8.1-1 3.8.3-1 3.8.3-2 3.8.3-4 3.8.3-5
3.14.1-1 3.14.2-1 3.14.2-3 3.14.2-4 3.14.4-1 3.14.4-2 3.15.1-1
4.1.0-1 4.2-1 4.3.1-1 4.3.2-1 4.3.2-2 4.3.2-3 4.3.2-4 4.3.2-5 4.4.0-1 4.4.0-2 4.5.0-2 4.6.0-1 4.6.0-2
4.7.0-1 4.7.1-1 4.7.1-2 4.7.3-1 4.7.3-2 4.7.3-3 4.8.2-1 4.8.2-2
4.9.0-1 4.9.0-2 4.9.0-3 4.12.0-7 4.13.2-1
"""
CLIENT_STATEMENTS = frozenset(_STATEMENTS.split())

# What the client does otherwise on purpose, and why.
DEVIATIONS = {
    "3.2.2-4": (
        "A restarted agent has no state and resumes its session all the same: requests that arrived while it was away "
        "wait there, and it holds no publication whose identifier could be in use."
    ),
    "3.2.2-5": (
        "Unacknowledged publications are not discarded with the broker's session; they are published again as new "
        "ones, with DUP 0, because no reply may be lost."
    ),
    "3.3.2-10": "The client allows no topic alias, so there is none to accept.",
}


def conforms(*statements: str) -> Callable[[_Test], _Test]:
    """Mark a test as that of numbered statements, each without `MQTT-`."""
    unknown = set(statements) - CLIENT_STATEMENTS - set(DEVIATIONS)
    if unknown:
        raise ValueError(f"no statements for clients: {unknown}")
    return lambda test: test
