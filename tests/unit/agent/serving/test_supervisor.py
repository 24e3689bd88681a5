"""Supervision of one worker, without a process: start, time limits, restart with backoff, jobs of a lost worker."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from drupelet_agent.errors import WorkerError
from drupelet_agent.serving.job import Job
from drupelet_agent.serving.workers.protocol import GoldenPassed, Replied
from drupelet_agent.serving.workers.supervisor import Supervisor
from fakes.clock import FakeClock
from fakes.workers import FakeWorkers
from support.agent.serving import INFERENCE_TIMEOUT_S, SPEC, Jobs


@dataclass
class RecordingOwner:
    """Implements `Owner`."""

    ready: int = 0
    freed: int = 0
    lost: list[tuple[list[bytes], int]] = field(default_factory=list)

    def worker_ready(self) -> None:
        self.ready += 1

    def worker_lost(self, error: str, *, unstarted: list[Job], crashes: int) -> None:
        assert error
        self.lost.append(([job.payload for job in unstarted], crashes))

    def slot_freed(self) -> None:
        self.freed += 1


class Bench:
    def __init__(self) -> None:
        self.clock, self.workers, self.owner = FakeClock(), FakeWorkers(), RecordingOwner()
        self.jobs = Jobs(self.clock)
        self.supervisor = Supervisor(
            SPEC, owner=self.owner, inference_timeout_s=INFERENCE_TIMEOUT_S, spawn=self.workers, clock=self.clock
        )
        self.supervisor.start()


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def ready(bench: Bench) -> Bench:
    bench.workers.latest.become_ready()
    return bench


def test_a_worker_takes_jobs_once_it_is_ready(bench: Bench) -> None:
    assert not bench.supervisor.has_room
    bench.workers.latest.become_ready()
    assert bench.supervisor.has_room
    assert bench.owner.ready == 1


def test_a_worker_has_room_for_two_jobs(ready: Bench) -> None:
    ready.supervisor.assign(ready.jobs.make(b"a"))
    assert ready.supervisor.has_room
    ready.supervisor.assign(ready.jobs.make(b"b"))
    assert not ready.supervisor.has_room
    assert [request.slot for request in ready.workers.latest.requests] == [0, 1]


def test_a_slot_is_used_again_once_its_job_is_answered(ready: Bench) -> None:
    for payload in (b"a", b"b"):
        ready.supervisor.assign(ready.jobs.make(payload))
    ready.workers.latest.reply()
    ready.supervisor.assign(ready.jobs.make(b"c"))
    assert [request.slot for request in ready.workers.latest.requests] == [1, 0]
    assert ready.owner.freed == 1


def test_an_answer_has_the_times_of_its_stages(ready: Bench) -> None:
    ready.supervisor.assign(ready.jobs.make(b"a"))
    ready.clock.advance(0.5)
    ready.workers.latest.reply(inference_ms=7.0)
    ((_, outcome),) = ready.jobs.finished
    assert outcome.times is not None
    assert (outcome.times.inference_ms, outcome.times.total_ms) == (7.0, pytest.approx(500.0))


def test_a_worker_that_does_not_answer_in_time_is_ended_and_its_job_refused(ready: Bench) -> None:
    ready.supervisor.assign(ready.jobs.make(b"a"))
    ready.clock.advance(INFERENCE_TIMEOUT_S - 0.1)
    assert ready.jobs.finished == []
    ready.clock.advance(0.2)
    assert ready.jobs.codes == [(b"a", "inference_failed")]
    assert ready.workers.started[0].closed


def test_the_time_limit_starts_again_with_each_job(ready: Bench) -> None:
    for payload in (b"a", b"b"):
        ready.supervisor.assign(ready.jobs.make(payload))
    ready.clock.advance(INFERENCE_TIMEOUT_S - 1)
    ready.workers.latest.reply()
    ready.clock.advance(INFERENCE_TIMEOUT_S - 1)
    assert ready.jobs.codes == [(b"a", "ok")]
    ready.clock.advance(1.1)
    assert ready.jobs.codes == [(b"a", "ok"), (b"b", "inference_failed")]


def test_an_idle_worker_has_no_time_limit(ready: Bench) -> None:
    ready.supervisor.assign(ready.jobs.make(b"a"))
    ready.workers.latest.reply()
    ready.clock.advance(3600)
    assert len(ready.workers.started) == 1
    assert not ready.supervisor.stuck


def test_a_worker_that_does_not_load_within_a_minute_is_ended(bench: Bench) -> None:
    bench.clock.advance(59.9)
    assert bench.owner.lost == []
    bench.clock.advance(0.2)
    assert bench.owner.lost == [([], 1)]


def test_only_the_job_that_was_begun_is_refused_when_a_worker_dies(ready: Bench) -> None:
    for payload in (b"a", b"b"):
        ready.supervisor.assign(ready.jobs.make(payload))
    ready.workers.latest.die()
    assert ready.jobs.codes == [(b"a", "inference_failed")]
    assert ready.owner.lost == [([b"b"], 1)]


def test_each_crash_doubles_the_backoff_up_to_half_a_minute(bench: Bench) -> None:
    for crashes in range(1, 12):
        bench.workers.latest.die()
        longest_s = min(30.0, 0.1 * 2 ** (crashes - 1))
        bench.clock.advance(longest_s / 2 - 0.001)
        assert len(bench.workers.started) == crashes
        bench.clock.advance(longest_s / 2 + 0.002)
        assert len(bench.workers.started) == crashes + 1
    assert [crashes for _, crashes in bench.owner.lost] == list(range(1, 12))


def test_a_reply_ends_a_series_of_crashes(bench: Bench) -> None:
    for _ in range(2):
        bench.workers.latest.die()
        bench.clock.advance(1)
    bench.workers.latest.become_ready()
    bench.supervisor.assign(bench.jobs.make(b"a"))
    bench.workers.latest.reply()
    bench.workers.latest.die()
    assert [crashes for _, crashes in bench.owner.lost] == [1, 2, 1]


def test_a_worker_that_ran_out_of_memory_is_replaced_at_once_and_does_not_count_as_a_crash(ready: Bench) -> None:
    for payload in (b"a", b"b"):
        ready.supervisor.assign(ready.jobs.make(payload))
    ready.workers.latest.reply(code="inference_failed")
    ready.workers.latest.run_out_of_memory()
    assert ready.owner.lost == [([b"b"], 0)]
    assert [worker.closed for worker in ready.workers.started] == [True, False]


def test_a_channel_that_breaks_while_a_job_is_sent_is_a_crash_after_the_owner_has_finished(ready: Bench) -> None:
    ready.workers.latest.break_channel()
    ready.supervisor.assign(ready.jobs.make(b"a"))
    assert ready.owner.lost == []
    assert not ready.supervisor.has_room
    ready.clock.advance(0)
    assert ready.owner.lost == [([], 1)]
    assert ready.jobs.codes == [(b"a", "inference_failed")]


def test_a_system_that_cannot_start_a_process_is_tried_again_with_backoff(bench: Bench) -> None:
    bench.workers.refuse = WorkerError("cannot start a worker: Resource temporarily unavailable")
    bench.workers.latest.die()
    bench.clock.advance(60)
    assert len(bench.owner.lost) > 3
    bench.workers.refuse = None
    bench.clock.advance(60)
    bench.workers.latest.become_ready()
    assert bench.supervisor.has_room


@pytest.mark.parametrize(
    "message",
    [
        GoldenPassed(difference=0.0),
        Replied(
            slot=1,
            length=0,
            content_type="x/y",
            header_length=None,
            code="ok",
            started_s=0.0,
            decode_ms=0.0,
            inference_ms=0.0,
            encode_ms=0.0,
            payload=b"",
        ),
    ],
)
def test_a_message_that_answers_no_request_ends_the_worker(ready: Bench, message: GoldenPassed | Replied) -> None:
    ready.supervisor.assign(ready.jobs.make(b"a"))
    ready.workers.latest.deliver(message)
    assert ready.workers.started[0].closed
    assert ready.jobs.codes == [(b"a", "inference_failed")]


def test_a_stopped_worker_is_not_started_again(ready: Bench) -> None:
    ready.supervisor.assign(ready.jobs.make(b"a"))
    ready.supervisor.stop()
    ready.clock.advance(3600)
    assert ready.jobs.codes == [(b"a", "inference_failed")]
    assert len(ready.workers.started) == 1
    assert ready.supervisor.pid is None


def test_a_memory_limit_reaches_a_running_worker_and_those_that_replace_it(ready: Bench) -> None:
    ready.supervisor.limit_memory(777)
    assert ready.workers.latest.limits_bytes[-1] == 777
    ready.workers.latest.die()
    ready.clock.advance(1)
    assert ready.workers.latest.spec.memory_limit_bytes == 777


def test_a_worker_that_starts_gets_its_latest_limit_once_it_is_ready(bench: Bench) -> None:
    bench.supervisor.limit_memory(777)
    assert bench.workers.latest.limits_bytes == []
    bench.workers.latest.become_ready()
    assert bench.workers.latest.limits_bytes == [777]
