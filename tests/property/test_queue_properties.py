"""A model's queue: whatever is submitted and however it ends, each request has one outcome."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from drupelet_agent.planning.budget import Budget
from drupelet_agent.serving.job import Job, Outcome
from drupelet_agent.serving.memory_shares import MemoryShares
from drupelet_agent.serving.server import ModelServer, QueueLimits, ServerEvents
from drupelet_agent.serving.workers.protocol import WorkerSpec
from fakes.clock import FakeClock
from fakes.workers import FakeWorkers
from support.agent.values import make_activation

SLOT_BYTES = 100
SPEC = WorkerSpec(package_folder="/nowhere", variant="v", threads=1, memory_limit_bytes=0, slot_bytes=SLOT_BYTES)
SIZES = st.lists(st.sampled_from([1, SLOT_BYTES, SLOT_BYTES + 1]), max_size=40)


async def serve(sizes: list[int], *, queue_length: int) -> tuple[list[list[str]], Counter[str], int]:
    """Submit to a server without a ready worker, and stop it: each job's outcomes, the counts, how many waited."""
    counted: Counter[str] = Counter()
    server = ModelServer(
        make_activation(),
        SPEC,
        limits=QueueLimits(length=queue_length, payload_bytes=10**9, inference_timeout_s=1.0),
        shares=MemoryShares(lambda: Budget(10**9, "limits.memory")),
        events=ServerEvents(
            on_health=lambda _: None,
            on_outcome=lambda _, outcome: counted.update([outcome.code]),
            wake=lambda _: None,
        ),
        spawn=FakeWorkers(),
        clock=FakeClock(),
    )
    outcomes: list[list[str]] = [[] for _ in sizes]

    def finisher(index: int) -> Callable[[Outcome], None]:
        def finish(outcome: Outcome) -> None:
            outcomes[index].append(outcome.code)

        return finish

    for index, size in enumerate(sizes):
        job = Job(
            payload=bytes(size),
            content_type=None,
            header_length=None,
            received_s=time.monotonic(),
            deadline_s=None,
            finish=finisher(index),
        )
        server.submit(job)
    waiting = sum(not found for found in outcomes)
    server.stop()
    return outcomes, counted, waiting


@settings(deadline=None)
@given(sizes=SIZES, queue_length=st.integers(1, 20))
def test_each_request_has_one_outcome_and_no_more_wait_than_there_is_room(sizes: list[int], queue_length: int) -> None:
    outcomes, counted, waiting = asyncio.run(serve(sizes, queue_length=queue_length))
    assert all(len(found) == 1 for found in outcomes)
    assert sum(counted.values()) == len(sizes)
    fitting = [size for size in sizes if size <= SLOT_BYTES]
    assert waiting == min(len(fitting), queue_length)
    assert counted["payload_too_large"] == len(sizes) - len(fitting)
    assert counted["overloaded"] == max(0, len(fitting) - queue_length)
    assert counted["model_unavailable"] == waiting
