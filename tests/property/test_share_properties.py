"""The memory of all models is divided so that together they never have more than there is."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.planning.budget import Budget
from drupelet_agent.planning.shares import share_out
from drupelet_agent.serving.memory_shares import MemoryShares

BYTES = st.integers(0, 2**40)


@given(st.lists(BYTES, min_size=1, max_size=8), BYTES)
def test_shares_never_come_to_more_than_there_is_and_cover_what_fits(footprints: list[int], capacity: int) -> None:
    shares = share_out(footprints, capacity_bytes=capacity)
    assert sum(shares) <= capacity
    if sum(footprints) <= capacity:
        assert all(share >= footprint for share, footprint in zip(shares, footprints, strict=True))


def test_a_model_alone_has_everything() -> None:
    assert share_out([7], capacity_bytes=100) == [100]


@dataclass(eq=False)
class Model:
    """A model that notes what all may allocate whenever it is told its limit."""

    footprint_bytes: int
    everybody: list[Model]
    most: list[int]
    limit_bytes: int = 0

    def limit_memory(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.most.append(sum(model.limit_bytes for model in self.everybody))


ACTIONS = st.lists(st.tuples(st.sampled_from(["enter", "leave", "measure", "done"]), st.integers(1, 1000)), max_size=40)


@given(ACTIONS, st.integers(1, 10_000))
def test_at_no_moment_do_all_together_have_more_whoever_comes_and_goes(
    actions: list[tuple[str, int]], capacity: int
) -> None:
    shares = MemoryShares(lambda: Budget(capacity, "limits.memory"))
    models: list[Model] = []
    most: list[int] = []
    measuring = False
    for action, number in actions:
        if action == "enter":
            models.append(Model(footprint_bytes=number, everybody=models, most=most))
            shares.enter(models[-1])
        elif action == "leave" and models:
            # Its workers have ended before the others grow.
            shares.leave(models.pop(number % len(models)))
        elif action in {"measure", "done"}:
            measuring = action == "measure"
            shares.set_measuring(measuring=measuring)
        footprints = sum(model.footprint_bytes for model in models)
        limits = sum(model.limit_bytes for model in models)
        assert limits <= capacity
        if measuring and models:
            assert limits <= footprints
        elif models and footprints <= capacity:
            assert limits > capacity - len(models)
    assert max(most, default=0) <= capacity
