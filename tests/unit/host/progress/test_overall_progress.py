"""The time left of a compile, with a clock that only moves when it is told to."""

from __future__ import annotations

import pytest

from drupelet_host.progress.overall import OverallProgress

PASSES = ("evaluate", "prune", "mix_precision", "package")


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def begin() -> tuple[OverallProgress, Clock]:
    clock = Clock()
    return OverallProgress(PASSES, clock=clock), clock


def test_nothing_is_guessed_before_anything_is_known() -> None:
    overall, clock = begin()
    assert overall.left_s() is None
    overall.start("evaluate")
    clock.now_s += 5
    assert overall.left_s() is None


def test_the_passes_to_come_take_their_usual_share_of_what_finished_ones_took() -> None:
    overall, _ = begin()
    overall.start("evaluate")
    overall.finish("evaluate", seconds=3.0)
    # 3 shares took 3 s: 60 for the search, 10 for the layers, 1 for the package.
    assert overall.left_s() == pytest.approx(71.0)


def test_the_running_pass_counts_by_how_far_it_is() -> None:
    overall, clock = begin()
    overall.start("evaluate")
    overall.finish("evaluate", seconds=3.0)
    overall.start("prune")
    clock.now_s += 30
    overall.progress(done=1, total=4)
    # A quarter of the search took 30 s, so 90 are left of it; 18 shares took 33 s.
    assert overall.left_s() == pytest.approx(90 + 33 / 18 * 11)


def test_a_pass_without_progress_counts_down_and_not_below_zero() -> None:
    overall, clock = begin()
    overall.start("evaluate")
    overall.finish("evaluate", seconds=3.0)
    overall.start("prune")
    clock.now_s += 20
    assert overall.left_s() == pytest.approx(40 + 11)
    clock.now_s += 1000
    assert overall.left_s() == pytest.approx(11)


def test_nothing_is_left_at_the_end_and_a_search_that_goes_on_counts_again() -> None:
    overall, _ = begin()
    for name in PASSES:
        overall.start(name)
        overall.finish(name, seconds=1.0)
    assert overall.left_s() == 0.0
    overall.start("prune")
    remaining_s = overall.left_s()
    assert remaining_s is not None
    assert remaining_s > 0
