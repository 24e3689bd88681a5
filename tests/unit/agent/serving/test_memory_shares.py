"""Memory limits of workers while models come and go, and while another process measures."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from drupelet_agent.planning.budget import Budget
from drupelet_agent.serving.memory_shares import MemoryShares


@dataclass(eq=False)
class Model:
    """A model that keeps the limits it was given."""

    footprint_bytes: int
    log: list[tuple[Model, int]] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)

    def limit_memory(self, limit_bytes: int) -> None:
        self.limits.append(limit_bytes)
        self.log.append((self, limit_bytes))


class Device:
    """Shares of a budget that the test sets."""

    def __init__(self) -> None:
        self.capacity_bytes = 100
        self.shares = MemoryShares(lambda: Budget(self.capacity_bytes, "limits.memory"))


@pytest.fixture
def device() -> Device:
    return Device()


def test_a_model_alone_may_use_everything(device: Device) -> None:
    model = Model(10)
    device.shares.enter(model)
    assert model.limits == [100]


def test_the_others_shrink_before_a_model_comes_and_grow_after_it_leaves(device: Device) -> None:
    log: list[tuple[Model, int]] = []
    first, second = Model(10, log), Model(30, log)
    device.shares.enter(first)
    device.shares.enter(second)
    assert log == [(first, 100), (first, 25), (second, 75)]
    device.shares.leave(second)
    assert log[3:] == [(first, 100)]


def test_a_model_that_never_came_leaves_without_effect(device: Device) -> None:
    model = Model(10)
    device.shares.enter(model)
    device.shares.leave(Model(10))
    assert model.limits == [100]


def test_models_have_their_footprints_while_another_process_measures(device: Device) -> None:
    first, second = Model(10), Model(30)
    device.shares.enter(first)
    device.shares.enter(second)
    device.shares.set_measuring(measuring=True)
    assert (first.limits[-1], second.limits[-1]) == (10, 30)
    device.shares.set_measuring(measuring=False)
    assert (first.limits[-1], second.limits[-1]) == (25, 75)


def test_nothing_is_divided_again_unless_the_measuring_begins_or_ends(device: Device) -> None:
    model = Model(10)
    device.shares.enter(model)
    for measuring in (False, True, True, False):
        device.shares.set_measuring(measuring=measuring)
    assert model.limits == [100, 10, 100]


def test_measuring_gives_nobody_more_than_the_budget(device: Device) -> None:
    model = Model(300)
    device.shares.enter(model)
    device.shares.set_measuring(measuring=True)
    assert model.limits[-1] == 100


def test_a_model_of_unknown_footprint_keeps_its_limit_while_another_process_measures(device: Device) -> None:
    model = Model(0)
    device.shares.enter(model)
    device.shares.set_measuring(measuring=True)
    assert model.limits[-1] == 100


def test_a_budget_that_changes_is_divided_again(device: Device) -> None:
    model = Model(10)
    device.shares.enter(model)
    device.capacity_bytes = 60
    device.shares.rebalance()
    assert model.limits == [100, 60]


def test_without_models_there_is_nothing_to_divide(device: Device) -> None:
    device.shares.rebalance()
    device.shares.set_measuring(measuring=True)
