"""One release at work, without a process: queue, bounds, order, health."""

from __future__ import annotations

import asyncio

import pytest

from support.agent.serving import SLOT_BYTES, ServerBench
from support.agent.values import make_activation


def bench_with_workers(count: int) -> ServerBench:
    activation = make_activation()
    plan = activation.plan.model_copy(update={"instances": count})
    return ServerBench(activation=activation.model_copy(update={"plan": plan}))


def test_jobs_wait_for_the_worker_and_are_answered_in_order() -> None:
    bench = ServerBench()
    bench.server.start()
    bench.submit(b"a", b"b", b"c")
    assert bench.jobs.finished == []
    bench.workers.latest.become_ready()
    for _ in range(3):
        bench.workers.latest.reply()
    assert bench.jobs.codes == [(b"a", "ok"), (b"b", "ok"), (b"c", "ok")]
    assert bench.outcomes == ["ok"] * 3


def test_more_jobs_than_the_queue_holds_are_refused_at_once() -> None:
    bench = ServerBench(queue_length=2)
    bench.server.start()
    bench.submit(b"a", b"b", b"c")
    assert bench.jobs.codes == [(b"c", "overloaded")]


def test_a_payload_larger_than_a_slot_is_refused() -> None:
    bench = ServerBench()
    bench.start_ready()
    bench.submit(bytes(SLOT_BYTES + 1), bytes(SLOT_BYTES))
    assert [code for _, code in bench.jobs.codes] == ["payload_too_large"]


class TestBytes:
    def test_jobs_beyond_the_limit_of_one_model_are_refused(self) -> None:
        bench = ServerBench(payload_bytes=2 * SLOT_BYTES)
        bench.server.start()
        bench.submit(*[bytes(SLOT_BYTES)] * 5)
        assert [code for _, code in bench.jobs.codes] == ["overloaded"] * 3
        assert bench.server.queued_bytes == 2 * SLOT_BYTES

    def test_a_job_in_work_counts_until_it_is_answered(self) -> None:
        bench = ServerBench()
        bench.start_ready()
        bench.submit(bytes(700))
        assert bench.server.queued_bytes == 700
        bench.workers.latest.reply()
        assert bench.server.queued_bytes == 0

    def test_one_job_is_accepted_however_small_the_limit(self) -> None:
        bench = ServerBench(payload_bytes=10)
        bench.server.start()
        bench.submit(bytes(SLOT_BYTES), b"b")
        assert bench.jobs.codes == [(b"b", "overloaded")]

    @pytest.mark.parametrize("end", ["crash", "fail", "stop"])
    def test_nothing_counts_as_waiting_however_jobs_end(self, end: str) -> None:
        bench = ServerBench()
        bench.start_ready()
        bench.submit(b"aaaa", b"bbb", b"cc", b"d")
        if end == "stop":
            bench.server.stop()
        for _ in range(3 if end == "fail" else 1):
            if end != "stop":
                bench.workers.latest.die()
                bench.clock.advance(1)
        if end == "crash":
            bench.workers.latest.become_ready()
            while bench.workers.latest.requests:
                bench.workers.latest.reply()
        assert len(bench.jobs.finished) == 4
        assert bench.server.queued_bytes == 0


def test_jobs_of_a_lost_worker_come_before_those_that_waited_and_keep_their_order() -> None:
    bench = ServerBench()
    bench.start_ready()
    bench.submit(b"a", b"b", b"c", b"d")
    bench.workers.latest.run_out_of_memory()
    bench.workers.latest.become_ready()
    for _ in range(4):
        bench.workers.latest.reply()
    assert [payload for payload, _ in bench.jobs.codes] == [b"a", b"b", b"c", b"d"]


def test_another_worker_takes_over_the_jobs_that_a_lost_one_had_not_begun() -> None:
    bench = bench_with_workers(2)
    bench.start_ready()
    first, second = bench.workers.started
    bench.submit(b"a", b"b", b"c", b"d")
    assert [request.payload for request in first.requests] == [b"a", b"c"]
    first.die()
    assert bench.jobs.codes == [(b"a", "inference_failed")]
    second.reply()
    second.reply()
    assert [request.payload for request in second.requests] == [b"c"]
    assert bench.server.health == "ready"


def test_the_least_loaded_worker_gets_the_next_job() -> None:
    bench = bench_with_workers(2)
    bench.start_ready()
    first, second = bench.workers.started
    bench.submit(b"a", b"b")
    assert (len(first.requests), len(second.requests)) == (1, 1)


def test_a_job_that_expired_in_the_queue_is_not_computed() -> None:
    bench = ServerBench()
    bench.server.start()
    bench.server.submit(bench.jobs.make(b"a", deadline_s=bench.clock.now_s() + 1))
    bench.clock.advance(2)
    bench.workers.latest.become_ready()
    assert bench.jobs.codes == [(b"a", "expired")]
    assert bench.workers.latest.requests == []


def test_three_crashes_without_a_reply_fail_the_model_and_refuse_what_waits() -> None:
    bench = ServerBench()
    bench.start_ready()
    bench.submit(b"a", b"b", b"c", b"d", b"e")
    for _ in range(3):
        bench.workers.latest.die()
        bench.clock.advance(1)
        bench.workers.latest.become_ready() if bench.server.health != "failed" else None
    assert bench.server.health == "failed"
    assert bench.jobs.codes == [
        (b"a", "inference_failed"),
        (b"b", "inference_failed"),
        (b"d", "model_unavailable"),
        (b"e", "model_unavailable"),
        (b"c", "inference_failed"),
    ]
    bench.submit(b"f")
    assert bench.jobs.codes[-1] == (b"f", "model_unavailable")


def test_a_failed_model_is_ready_again_once_a_worker_starts() -> None:
    bench = ServerBench()
    bench.server.start()
    for _ in range(3):
        bench.workers.latest.die()
        bench.clock.advance(1)
    bench.workers.latest.become_ready()
    assert bench.healths == ["failed", "ready"]
    assert bench.server.error is None


class TestEviction:
    def test_an_evicted_model_finishes_what_it_has_accepted_before_its_worker_ends(self) -> None:
        async def run() -> None:
            bench = ServerBench()
            bench.start_ready()
            bench.submit(b"a")
            eviction = asyncio.create_task(bench.server.evict("made room"))
            await asyncio.sleep(0)
            assert bench.workers.open
            bench.workers.latest.reply()
            await eviction
            assert bench.jobs.codes == [(b"a", "ok")]
            assert not bench.workers.open
            assert not bench.server.running

        asyncio.run(run())

    def test_a_job_for_an_evicted_model_wakes_it_or_is_refused_with_the_reason(self) -> None:
        async def run() -> None:
            bench = ServerBench(wake_answer="no room")
            bench.start_ready()
            await bench.server.evict("made room")
            bench.submit(b"a")
            assert bench.woken == ["digits"]
            assert bench.jobs.codes == [(b"a", "model_unavailable")]
            bench.wake_answer = None
            bench.submit(b"b")
            assert bench.jobs.codes == [(b"a", "model_unavailable")]

        asyncio.run(run())


class TestDrain:
    def test_it_returns_at_once_when_nothing_waits(self) -> None:
        bench = ServerBench()
        bench.start_ready()
        asyncio.run(bench.server.drain(timeout_s=60))

    def test_it_gives_up_after_its_time(self) -> None:
        bench = ServerBench()
        bench.start_ready()
        bench.submit(b"a")
        asyncio.run(bench.server.drain(timeout_s=0.01))
        assert not bench.server.idle


def test_stopping_answers_what_is_left_with_an_error() -> None:
    bench = ServerBench()
    bench.start_ready()
    bench.submit(b"a", b"b", b"c")
    bench.server.stop()
    assert bench.jobs.codes == [
        (b"a", "inference_failed"),
        (b"b", "inference_failed"),
        (b"c", "model_unavailable"),
    ]
