"""What a supervisor and the tuner rely on in a worker: the process, and the fake that tests use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from drupelet_agent.errors import WorkerError, WorkerTimeoutError
from drupelet_agent.serving.workers.port import Worker
from drupelet_agent.serving.workers.protocol import (
    Benchmark,
    CheckGolden,
    Failed,
    GoldenPassed,
    Infer,
    Measured,
    Message,
    Ready,
    Replied,
    WorkerSpec,
)
from drupelet_agent.serving.workers.worker_process import WorkerProcess, expect
from drupelet_shared.package.reading import unpack_package
from drupelet_shared.package.trust import load_trust_folder
from fakes.workers import FakeWorker
from support.package.served_packages import VARIANT, make_keys, make_package

PATIENCE_S = 60.0
REQUEST = json.dumps(
    {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0.5] * 64}]}
).encode()
Start = Callable[[], Worker]


def _answer(message: Message) -> Message:
    match message:
        case Infer():
            return Replied(
                slot=message.slot,
                length=2,
                content_type="application/json",
                header_length=None,
                code="ok",
                started_s=0.0,
                decode_ms=0.1,
                inference_ms=0.1,
                encode_ms=0.1,
                payload=b"{}",
            )
        case CheckGolden():
            return GoldenPassed(difference=0.0)
        case Benchmark():
            return Measured(
                p50_ms=1.0,
                p95_ms=1.0,
                p99_ms=1.0,
                runs=message.runs,
                mean_ms=1.0,
                p50_low_ms=1.0,
                p50_high_ms=1.0,
                p99_low_ms=1.0,
                p99_high_ms=1.0,
                footprint_bytes=50_000_000,
            )
        case _:
            return Failed(code="unknown", message="")


def _fake() -> Worker:
    worker = FakeWorker(
        WorkerSpec(package_folder="", variant=VARIANT, threads=1, memory_limit_bytes=0, slot_bytes=100_000), _answer
    )
    worker.become_ready()
    return worker


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worker")
    keys = make_keys(folder)
    (folder / "trust").mkdir()
    (folder / "trust/maker.pub").write_bytes(keys.public.read_bytes())
    trusted = load_trust_folder(folder / "trust")
    unpack_package(make_package(folder, keys), folder / "package", trusted_keys=trusted, room_bytes=10**9)
    return folder / "package"


@pytest.fixture(params=["fake", "process"])
def start(request: pytest.FixtureRequest, package: Path) -> Start:
    if request.param == "fake":
        return _fake
    spec = WorkerSpec(package_folder=str(package), variant=VARIANT, threads=1, memory_limit_bytes=0, slot_bytes=100_000)
    return lambda: WorkerProcess(spec)


@pytest.fixture
def worker(start: Start) -> Iterator[Worker]:
    with closing(start()) as worker:
        expect(worker, Ready, timeout_s=PATIENCE_S)
        yield worker


def ask(worker: Worker, *, slot: int) -> None:
    worker.send_request(REQUEST, slot=slot, content_type="application/json", header_length=None)


def test_a_worker_has_a_process_id(worker: Worker) -> None:
    assert worker.pid > 0


def test_each_request_is_answered_in_its_slot_and_in_order(worker: Worker) -> None:
    for slot in (1, 0):
        ask(worker, slot=slot)
    replies = [expect(worker, Replied, timeout_s=PATIENCE_S) for _ in range(2)]
    assert [reply.slot for reply in replies] == [1, 0]
    assert all(reply.code == "ok" for reply in replies)
    assert worker.payload_of(replies[0]).startswith(b"{")


def test_golden_vectors_are_checked(worker: Worker) -> None:
    worker.send(CheckGolden())
    assert expect(worker, GoldenPassed, timeout_s=PATIENCE_S).difference < 1e-3


def test_a_benchmark_answers_with_at_least_its_runs_and_a_footprint(worker: Worker) -> None:
    worker.send(Benchmark(warmup=0, runs=5, max_seconds=10.0))
    measured = expect(worker, Measured, timeout_s=PATIENCE_S)
    assert measured.runs >= 5
    assert measured.footprint_bytes > 0
    assert measured.timing.p50_ms <= measured.timing.p99_ms


def test_without_a_message_the_wait_ends_in_time(worker: Worker) -> None:
    with pytest.raises(WorkerTimeoutError, match=r"no answer within 0\.01 s"):
        worker.receive(timeout_s=0.01)


def test_another_answer_than_the_expected_one_is_an_error(worker: Worker) -> None:
    worker.send(CheckGolden())
    with pytest.raises(WorkerError, match="answered GoldenPassed where Replied was expected"):
        expect(worker, Replied, timeout_s=PATIENCE_S)


def test_the_event_loop_learns_of_each_message(start: Start) -> None:
    async def run() -> None:
        with closing(start()) as worker:
            received: list[Message] = []
            arrived = asyncio.Event()

            def read() -> None:
                received.append(worker.receive())
                arrived.set()

            worker.watch(read)
            for expected in (Ready, Replied):
                await asyncio.wait_for(arrived.wait(), PATIENCE_S)
                arrived.clear()
                assert isinstance(received.pop(), expected)
                ask(worker, slot=0)

    asyncio.run(run())


def test_a_worker_that_has_ended_raises_for_every_further_message(start: Start) -> None:
    with closing(start()) as worker:
        expect(worker, Ready, timeout_s=PATIENCE_S)
        end(worker)
        for _ in range(2):
            with pytest.raises(WorkerError, match=f"worker {worker.pid} ended: signal SIGKILL"):
                worker.receive(timeout_s=PATIENCE_S)
        with pytest.raises(WorkerError):
            worker.send(CheckGolden())


def end(worker: Worker) -> None:
    if isinstance(worker, FakeWorker):
        worker.die()
    else:
        assert isinstance(worker, WorkerProcess)
        worker._process.kill()
        worker._process.wait()
