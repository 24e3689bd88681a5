"""What breaks a contract, and what does not."""

from __future__ import annotations

import pytest

from drupelet_agent.planning.contract import ContractLimits, ServedWindow, is_at_risk, violation

LIMITS = ContractLimits(p99_ms=50.0, error_rate=0.5, window_s=60.0, min_requests=20)


def served(*, answered: int = 1000, late: int = 0, failed: int = 0, seconds: float = 60.0) -> ServedWindow:
    return ServedWindow(seconds=seconds, answered=answered, late=late, failed=failed)


@pytest.mark.parametrize("late", [0, 2, 10])
def test_up_to_one_in_a_hundred_may_be_late(late: int) -> None:
    assert violation(served(late=late), LIMITS, throttled=False) is None


def test_more_than_one_in_a_hundred_breaks_the_latency_contract() -> None:
    assert violation(served(late=11), LIMITS, throttled=False) == (
        "11 of 1000 inferences in 60 s took longer than 50.00 ms: the contract allows 1 %"
    )


def test_two_late_ones_among_few_may_be_chance() -> None:
    assert violation(served(answered=30, late=2), LIMITS, throttled=False) is None
    assert violation(served(answered=30, late=3), LIMITS, throttled=False) is not None


def test_a_device_that_is_slowed_down_says_nothing_about_the_release() -> None:
    assert violation(served(late=1000), LIMITS, throttled=True) is None


def test_too_many_failures_break_it_on_a_slowed_device_too() -> None:
    assert violation(served(answered=10, failed=11), LIMITS, throttled=True) == (
        "11 of 21 requests in 60 s failed: the limit is 50%"
    )


def test_half_of_the_requests_may_fail_at_a_limit_of_half() -> None:
    assert violation(served(answered=20, failed=20), LIMITS, throttled=False) is None


@pytest.mark.parametrize("few", [served(answered=19, late=19), served(late=1000, seconds=59.9)])
def test_too_little_is_not_judged(few: ServedWindow) -> None:
    assert violation(few, LIMITS, throttled=False) is None


def test_what_has_no_limit_cannot_be_broken() -> None:
    free = ContractLimits(p99_ms=None, error_rate=None, window_s=0.0, min_requests=1)
    assert violation(served(late=1000, failed=1000), free, throttled=False) is None


class TestAtRisk:
    """Half of what breaks the contract is a risk, however short the window is."""

    @pytest.mark.parametrize(("answered", "late", "risky"), [(10, 1, False), (10, 2, True), (300, 2, True)])
    def test_among_few_requests_half_of_the_fewest_late_ones_is_a_risk(
        self,
        answered: int,
        late: int,
        risky: bool,  # noqa: FBT001 - a parameter of the test
    ) -> None:
        assert is_at_risk(served(answered=answered, late=late, seconds=0.1), LIMITS) is risky

    @pytest.mark.parametrize(("late", "risky"), [(5, False), (6, True), (11, True)])
    def test_among_many_half_of_one_in_a_hundred_is(
        self,
        late: int,
        risky: bool,  # noqa: FBT001
    ) -> None:
        assert is_at_risk(served(answered=1000, late=late), LIMITS) is risky

    @pytest.mark.parametrize(
        ("answered", "failed", "risky"), [(0, 0, False), (0, 1, False), (0, 2, True), (6, 2, False), (5, 2, True)]
    )
    def test_half_of_the_failures_that_break_the_contract_are_a_risk_unless_it_is_one(
        self,
        answered: int,
        failed: int,
        risky: bool,  # noqa: FBT001
    ) -> None:
        assert is_at_risk(served(answered=answered, failed=failed), LIMITS) is risky

    def test_what_has_no_limit_is_never_at_risk(self) -> None:
        free = ContractLimits(p99_ms=None, error_rate=None, window_s=0.0, min_requests=1)
        assert not is_at_risk(served(late=1000, failed=1000), free)

    def test_either_limit_is_enough(self) -> None:
        assert is_at_risk(served(late=1000), ContractLimits(50.0, None, window_s=60.0, min_requests=20))
        assert is_at_risk(served(failed=1000), ContractLimits(None, 0.5, window_s=60.0, min_requests=20))
