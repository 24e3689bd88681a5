"""Scenarios on an event loop: coroutines that play with a bench made on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Bench = TypeVar("Bench")


def run_scenario(make_bench: Callable[[], Bench], scenario: Callable[[Bench], Awaitable[None]]) -> None:
    """Make a bench on a new event loop and run a scenario with it.

    Args:
        make_bench: Called on the loop, as most of what benches hold needs a running one.
        scenario: The scenario.
    """

    async def main() -> None:
        await scenario(make_bench())

    asyncio.run(main())
