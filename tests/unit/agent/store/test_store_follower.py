"""Following the store: what has changed is passed on, and a store that fails ends nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from drupelet_agent.app.store_follower import READ_ONLY, StoreFollower
from drupelet_agent.errors import StoreError
from drupelet_shared.contract.messages import StoreState


@dataclass
class FakeStore:
    """A store that answers what a test sets; an error is raised by every question."""

    value: int = 1
    measuring: bool = False
    read_only: bool = False
    error: StoreError | None = None

    def fingerprint(self) -> object:
        self._fail()
        return self.value

    def is_memory_shared(self) -> bool:
        self._fail()
        return self.measuring

    def is_read_only(self) -> bool:
        self._fail()
        return self.read_only

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


@dataclass
class FakeFleet:
    """Counts how often it followed; fails as often as a test sets."""

    follows: int = 0
    failures: int = 0
    measuring: list[bool] = field(default_factory=list)

    def follow_store(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreError("record damaged")
        self.follows += 1

    def set_measuring(self, *, measuring: bool) -> None:
        self.measuring.append(measuring)


@dataclass
class Bench:
    """A follower between the two fakes, and the faults that it reported."""

    store: FakeStore = field(default_factory=FakeStore)
    fleet: FakeFleet = field(default_factory=FakeFleet)
    states: list[tuple[StoreState, str | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.follower = StoreFollower(
            self.store, self.fleet, on_state=lambda state, fault: self.states.append((state, fault))
        )


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_fleet_follows_once_for_each_change(bench: Bench) -> None:
    for value in (1, 1, 2, 2):
        bench.store.value = value
        bench.follower.poll()
    assert bench.fleet.follows == 2
    assert bench.states == [("ok", None)]


def test_a_measurement_elsewhere_is_passed_on(bench: Bench) -> None:
    bench.store.measuring = True
    bench.follower.poll()
    assert bench.fleet.measuring == [True]


def test_a_store_that_fails_is_reported_once_and_read_again(bench: Bench) -> None:
    bench.store.error = StoreError("store /state: Input/output error")
    bench.follower.poll()
    bench.follower.poll()
    assert bench.follower.fault == "store /state: Input/output error"
    assert bench.follower.is_read
    bench.store.error = None
    bench.follower.poll()
    assert bench.states == [("failed", "store /state: Input/output error"), ("ok", None)]
    assert bench.fleet.follows == 1


def test_a_change_that_could_not_be_followed_is_followed_later(bench: Bench) -> None:
    bench.fleet.failures = 1
    bench.follower.poll()
    bench.follower.poll()
    assert bench.fleet.follows == 1


def test_a_read_only_store_is_followed_and_reported(bench: Bench) -> None:
    bench.store.read_only = True
    bench.follower.poll()
    assert bench.states == [("read_only", READ_ONLY)]
    assert bench.fleet.follows == 1
