"""A worker's answers to its parent, with a real package and without a process of its own."""

from __future__ import annotations

import json
import mmap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from drupelet_agent.serving.workers.protocol import (
    INLINE_BYTES,
    SLOTS,
    Benchmark,
    CheckGolden,
    EndProfile,
    Failed,
    GoldenPassed,
    Infer,
    Measured,
    Profiled,
    Replied,
    WorkerSpec,
)
from drupelet_agent.worker.worker import Worker
from drupelet_shared.errors import ManifestError, ModelLoadError
from drupelet_shared.package.reading import unpack_package
from support.package.served_packages import VARIANT, make_package

SLOT_BYTES = 200_000
BODY = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0.5] * 64}]}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    unpack_package(make_package(folder, None), folder / "unpacked", trusted_keys=None)
    return folder / "unpacked"


@pytest.fixture
def spec(package: Path) -> WorkerSpec:
    return WorkerSpec(
        package_folder=str(package), variant=VARIANT, threads=1, memory_limit_bytes=0, slot_bytes=SLOT_BYTES
    )


@pytest.fixture
def memory() -> mmap.mmap:
    return mmap.mmap(-1, SLOTS * SLOT_BYTES)


@pytest.fixture
def worker(spec: WorkerSpec, memory: mmap.mmap) -> Worker:
    return Worker(spec, memory)


def infer(worker: Worker, payload: bytes | None, **fields: object) -> Replied:
    values = {"slot": 0, "length": len(payload or b""), "content_type": None, "header_length": None, "deadline_s": None}
    answer = worker.answer(Infer(payload=payload, **{**values, **fields}))  # type: ignore[arg-type]
    assert isinstance(answer, Replied)
    return answer


def document(reply: Replied) -> dict[str, object]:
    assert reply.payload is not None
    parsed: dict[str, object] = json.loads(reply.payload)
    return parsed


def test_a_request_is_answered_with_the_times_of_its_stages(worker: Worker) -> None:
    reply = infer(worker, json.dumps({**BODY, "id": "r7"}).encode())
    assert (reply.code, reply.slot, reply.content_type) == ("ok", 0, "application/json")
    assert document(reply)["id"] == "r7"
    assert document(reply)["model_name"] == "digits"
    assert reply.started_s <= time.monotonic()
    assert min(reply.decode_ms, reply.inference_ms, reply.encode_ms) > 0


def test_a_large_request_comes_through_its_slot_and_a_large_reply_goes_through_it(
    worker: Worker, memory: mmap.mmap
) -> None:
    # An id as long as an id may be keeps the reply small; blanks make the request large.
    payload = json.dumps(BODY).encode() + b" " * INLINE_BYTES
    memory[SLOT_BYTES : SLOT_BYTES + len(payload)] = payload
    reply = infer(worker, None, slot=1, length=len(payload))
    assert (reply.code, reply.slot) == ("ok", 1)


def test_a_request_after_its_deadline_is_not_computed(worker: Worker) -> None:
    payload = json.dumps(BODY).encode()
    expired = infer(worker, payload, deadline_s=time.monotonic() - 1)
    assert (expired.code, expired.inference_ms) == ("expired", 0.0)
    assert infer(worker, payload, deadline_s=time.monotonic() + 1000).code == "ok"


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"{", "invalid_request"), (b"\x00\x01", "unsupported_content_type"), (b'{"inputs": []}', "invalid_input_name")],
)
def test_a_malformed_request_is_answered_with_its_code(worker: Worker, payload: bytes, code: str) -> None:
    reply = infer(worker, payload)
    assert reply.code == code
    assert document(reply)["code"] == code


def test_a_refusal_repeats_the_id_of_the_request(worker: Worker) -> None:
    assert document(infer(worker, b'{"id": "r7", "inputs": []}'))["id"] == "r7"


def test_a_reply_larger_than_a_slot_is_refused(spec: WorkerSpec, memory: mmap.mmap) -> None:
    worker = Worker(replace(spec, slot_bytes=100), memory)
    reply = infer(worker, json.dumps(BODY).encode())
    assert reply.code == "payload_too_large"
    assert "the limit is 100" in str(document(reply)["error"])


def test_the_golden_vectors_agree(worker: Worker) -> None:
    answer = worker.answer(CheckGolden())
    assert isinstance(answer, GoldenPassed)
    assert answer.difference <= 1e-4


def test_golden_vectors_that_differ_are_a_failure(tmp_path: Path, spec: WorkerSpec, memory: mmap.mmap) -> None:
    unpack_package(make_package(tmp_path, None, golden_error=1.0), tmp_path / "unpacked", trusted_keys=None)
    answer = Worker(replace(spec, package_folder=str(tmp_path / "unpacked")), memory).answer(CheckGolden())
    assert isinstance(answer, Failed)
    assert answer.code == "golden_mismatch"


def test_a_measurement_continues_the_runs_before_it(worker: Worker) -> None:
    for runs in (5, 10):
        answer = worker.answer(Benchmark(warmup=0, runs=5, max_seconds=60.0))
        assert isinstance(answer, Measured)
        assert answer.runs == runs
        assert 0 < answer.p50_ms <= answer.p95_ms <= answer.p99_ms
        assert answer.p50_low_ms <= answer.p50_ms <= answer.p50_high_ms
        assert answer.footprint_bytes > 10**6


def test_a_worker_without_a_profile_says_so(worker: Worker) -> None:
    answer = worker.answer(EndProfile())
    assert isinstance(answer, Failed)
    assert answer.code == "profiling_unavailable"


def test_a_profile_is_a_file_in_the_folder_of_the_profile(tmp_path: Path, spec: WorkerSpec, memory: mmap.mmap) -> None:
    worker = Worker(replace(spec, profile_folder=str(tmp_path)), memory)
    worker.answer(Benchmark(warmup=0, runs=1, max_seconds=0.0))
    answer = worker.answer(EndProfile())
    assert isinstance(answer, Profiled)
    assert (tmp_path / answer.name).is_file()


def test_an_unknown_variant_and_a_damaged_model_are_not_loaded(
    tmp_path: Path, spec: WorkerSpec, memory: mmap.mmap
) -> None:
    with pytest.raises(ManifestError, match="int4"):
        Worker(replace(spec, variant="int4"), memory)
    unpack_package(make_package(tmp_path, None), tmp_path / "unpacked", trusted_keys=None)
    (tmp_path / f"unpacked/variants/{VARIANT}/model.onnx").write_bytes(b"damaged")
    with pytest.raises(ModelLoadError):
        Worker(replace(spec, package_folder=str(tmp_path / "unpacked")), memory)
