"""Which channels a step of the search removes, from curves and savings alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from drupelet_host.pruning.search.choice import ChannelChoice
from drupelet_host.pruning.sensitivity import SensitivityCurve

CHANNELS = {"steep": 64, "flat": 64}


def curve(name: str, *, at_half: float) -> SensitivityCurve:
    return SensitivityCurve(name, 64, ((0.0, 1.0), (0.5, at_half)))


@dataclass(frozen=True)
class Savings:
    """What a group saves at each width: by default the same for each channel."""

    each: Mapping[str, float]
    # Channels are only worth something by so many at once.
    step: int = 1

    @property
    def groups(self) -> frozenset[str]:
        return frozenset(self.each)

    def saved(self, channels: Mapping[str, int], name: str, count: int) -> float:
        return (-(-channels[name] // self.step) + (-count // self.step)) * self.step * self.each[name]


SAVINGS = Savings(dict.fromkeys(CHANNELS, 0.005))


def choice(**changes: object) -> ChannelChoice:
    given = {
        "curves": {"steep": curve("steep", at_half=0.2), "flat": curve("flat", at_half=0.95)},
        "factors": dict.fromkeys(CHANNELS, 1.0),
        "multiple": 8,
        **changes,
    }
    return ChannelChoice(**given)  # type: ignore[arg-type]  # a test's keywords


def test_of_two_groups_that_save_alike_the_less_sensitive_one_shrinks() -> None:
    chosen = choice().choose(SAVINGS, CHANNELS, goal=0.1)
    assert chosen["steep"] == 64
    assert chosen["flat"] < 64


def test_of_two_groups_that_are_alike_sensitive_the_one_that_saves_more_shrinks() -> None:
    same = {name: curve(name, at_half=0.9) for name in CHANNELS}
    chosen = choice(curves=same).choose(Savings({"steep": 0.01, "flat": 0.001}), CHANNELS, goal=0.05)
    assert chosen["steep"] < 64
    assert chosen["flat"] == 64


@pytest.mark.parametrize(("factor", "shrinks"), [(0.01, "steep"), (1.0, "flat")])
def test_the_policy_weighs_what_the_curves_say(factor: float, shrinks: str) -> None:
    chosen = choice(factors={"steep": 1.0, "flat": factor}).choose(SAVINGS, CHANNELS, goal=0.03)
    assert chosen[shrinks] < 64


def test_a_group_that_the_policy_leaves_alone_never_shrinks() -> None:
    chosen = choice(factors={"steep": 1.0, "flat": 0.0}).choose(SAVINGS, CHANNELS, goal=0.5)
    assert chosen["flat"] == 64
    assert chosen["steep"] < 64


def test_a_step_saves_its_goal_and_no_block_more() -> None:
    chosen = choice().choose(SAVINGS, CHANNELS, goal=0.1)
    saved = sum((CHANNELS[name] - count) * 0.005 for name, count in chosen.items())
    assert 0.1 <= saved < 0.1 + 8 * 0.005


def test_a_step_in_the_cost_is_passed_at_once_and_no_width_between_is_chosen() -> None:
    same = {name: curve(name, at_half=0.9) for name in CHANNELS}
    kernels = Savings({"steep": 0.004}, step=32)
    assert choice(curves=same).choose(kernels, CHANNELS, goal=0.01) == {"steep": 32, "flat": 64}


def test_nothing_is_removed_where_no_width_saves_anything() -> None:
    assert choice().choose(Savings(dict.fromkeys(CHANNELS, 0.0)), CHANNELS, goal=0.1) == CHANNELS
    assert choice().choose(Savings(dict.fromkeys(CHANNELS, -0.01)), CHANNELS, goal=0.1) == CHANNELS


def test_blocked_groups_are_left_alone() -> None:
    assert choice(blocked=["flat"]).choose(SAVINGS, CHANNELS, goal=0.1)["flat"] == 64
