"""Follows the store: tells the fleet of every change, and reports a store that cannot be read or written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from drupelet_agent.errors import StoreError
from drupelet_agent.rounds import Rounds
from drupelet_shared.contract.messages import StoreState

log = logging.getLogger(__name__)

_POLL_S = 0.5
READ_ONLY = "the store's file system is read-only: the active models are served, and nothing can be installed"


class FollowedStore(Protocol):
    """The questions that are asked of a store twice a second; none of them writes."""

    def fingerprint(self) -> object:
        """Return a value that changes whenever a record does."""

    def is_memory_shared(self) -> bool:
        """Return whether some process measures now, and needs memory besides the models that serve."""

    def is_read_only(self) -> bool:
        """Return whether the file system is read-only."""


class FollowingFleet(Protocol):
    """The models that follow the store."""

    def follow_store(self) -> None:
        """Take the steps from what is served to what the store says is active."""

    def set_measuring(self, *, measuring: bool) -> None:
        """Limit the workers while another process measures a model."""


class StoreFollower:
    """Polls the store; an error of the store never ends it, since what is active can still be served.

    Attributes:
        state: Whether the store can be read and written; None before the first poll.
        is_read: Whether the installed models are known, or cannot be known because the store fails.
        fault: What is wrong with the store; None if nothing is.
    """

    def __init__(
        self, store: FollowedStore, fleet: FollowingFleet, *, on_state: Callable[[StoreState, str | None], None]
    ) -> None:
        """Create a follower that has read nothing.

        Args:
            store: The store.
            fleet: The models that follow it.
            on_state: Called with each change of `state` and `fault`.
        """
        self._store = store
        self._fleet = fleet
        self._on_state = on_state
        self._fingerprint: object = None
        self.state: StoreState | None = None
        self.is_read = False
        self.fault: str | None = None

    async def run(self) -> None:
        """Poll until cancelled."""
        rounds = Rounds("following the store")
        while True:
            with rounds.guarded():
                self.poll()
            await asyncio.sleep(_POLL_S)

    def poll(self) -> None:
        """Read the store once, and pass on what has changed."""
        state, fault = self._examine()
        self.is_read = True
        if (state, fault) == (self.state, self.fault):
            return
        if fault != self.fault:
            log.log(logging.INFO if fault is None else logging.ERROR, "store: %s", fault or "works again")
        self.state, self.fault = state, fault
        self._on_state(state, fault)

    def _examine(self) -> tuple[StoreState, str | None]:
        try:
            self._follow()
            return ("read_only", READ_ONLY) if self._store.is_read_only() else ("ok", None)
        except (StoreError, OSError) as error:
            return "failed", str(error)

    def _follow(self) -> None:
        fingerprint = self._store.fingerprint()
        if fingerprint != self._fingerprint:
            self._fleet.follow_store()
            self._fingerprint = fingerprint
        self._fleet.set_measuring(measuring=self._store.is_memory_shared())
