"""Which devices a roll-out changes, and in which waves."""

from __future__ import annotations

import pytest

from drupelet_host.rollout.plan import cumulative_counts, parse_waves
from drupelet_host.rollout.selection import Selection, select_devices
from drupelet_shared.errors import InvalidValueError

FLEET = {f"pi-{number}": {"site": "berlin" if number % 2 else "paris"} for number in range(100)}


def counts(text: str, devices: int) -> tuple[int, ...]:
    return cumulative_counts(parse_waves(text), devices)


def test_waves_are_cumulative_and_percentages_are_rounded_up() -> None:
    assert counts("1,10%,50%,100%", 1000) == (1, 100, 500, 1000)
    assert counts("1, 5, 7%, 100%", 101) == (1, 5, 8, 101)
    assert counts("7%", 100) == (7,)
    assert counts("0.5%,100%", 1000) == (5, 1000)


def test_waves_that_would_change_no_device_are_left_out() -> None:
    assert counts("1,10%,50%,100%", 4) == (1, 2, 4)
    assert counts("10,10%,100%", 5) == (5,)
    assert counts("1,10%,100%", 0) == ()


@pytest.mark.parametrize("text", ["", "0", "1,,2", "ten", "-1", "101%", "50%,10%", "5,5", "1.5", "0%"])
def test_malformed_waves_are_named(text: str) -> None:
    with pytest.raises(InvalidValueError, match="waves"):
        parse_waves(text)


def test_devices_are_chosen_by_labels_names_and_share() -> None:
    berlin = select_devices(FLEET, Selection(labels=("site=berlin",)), seed="a")
    assert len(berlin) == 50
    assert all(FLEET[name]["site"] == "berlin" for name in berlin)
    assert set(select_devices(FLEET, Selection(names=("pi-1?", "pi-7")), seed="a")) == {
        *(f"pi-1{digit}" for digit in range(10)),
        "pi-7",
    }
    tenth = select_devices(FLEET, Selection(labels=("site=berlin",), share=0.1), seed="a")
    assert tenth == berlin[:5]


def test_the_order_is_that_of_the_seed_and_no_order_of_names() -> None:
    first, again = (select_devices(FLEET, Selection(), seed="digits:2") for _ in range(2))
    other = select_devices(FLEET, Selection(), seed="digits:3")
    assert first == again
    assert sorted(first) == sorted(other)
    assert first != other
    assert list(first) != sorted(first)


def test_a_device_that_joins_leaves_the_order_of_the_others_as_it_was() -> None:
    before = select_devices(FLEET, Selection(), seed="a")
    after = select_devices({**FLEET, "new": None}, Selection(), seed="a")
    assert tuple(name for name in after if name != "new") == before
