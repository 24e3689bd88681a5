"""Who makes room: never too many, never the wrong ones, never more in memory than there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.planning.residency import Resident, Room, find_room

residents = st.lists(
    st.tuples(st.integers(1, 400), st.floats(0, 100)).map(lambda pair: Resident("", *pair)), max_size=8
).map(lambda found: [Resident(str(n), one.footprint_bytes, one.last_used_s) for n, one in enumerate(found)])


@given(residents, st.integers(1, 500), st.integers(1, 1000), st.one_of(st.none(), st.floats(0, 120)))
def test_what_fits_fits_and_nobody_yields_in_vain(
    found: list[Resident], needed: int, capacity: int, before_s: float | None
) -> None:
    room = find_room(needed, found, capacity_bytes=capacity, used_before_s=before_s)
    staying = [one for one in found if one.name not in room.victims]
    if not room.fits:
        assert room.victims == ()
        return
    assert needed + sum(one.footprint_bytes for one in staying) <= capacity
    by_name = {one.name: one for one in found}
    if room.victims:
        # Without the last victim it would not have fitted.
        last = by_name[room.victims[-1]]
        assert needed + sum(one.footprint_bytes for one in staying) + last.footprint_bytes > capacity


@given(residents, st.integers(1, 500), st.integers(1, 1000), st.floats(0, 120))
def test_only_the_least_recently_used_yield_and_only_those_idle_long_enough(
    found: list[Resident], needed: int, capacity: int, before_s: float
) -> None:
    room = find_room(needed, found, capacity_bytes=capacity, used_before_s=before_s)
    gone = [one.last_used_s for one in found if one.name in room.victims]
    stayed = [one.last_used_s for one in found if one.name not in room.victims]
    assert all(used_s < before_s for used_s in gone)
    assert not gone or not stayed or max(gone) <= min(stayed)


@given(residents, st.integers(1, 500), st.integers(1, 1000))
def test_nobody_yields_where_eviction_is_off(found: list[Resident], needed: int, capacity: int) -> None:
    assert find_room(needed, found, capacity_bytes=capacity, used_before_s=None).victims == ()


def test_both_numbers_are_known_when_it_does_not_fit() -> None:
    recent = [Resident("a", 300, last_used_s=9.0), Resident("b", 100, last_used_s=1.0)]
    room = find_room(300, recent, capacity_bytes=500, used_before_s=5.0)
    assert room == Room(victims=(), left_bytes=200, fits=False)
