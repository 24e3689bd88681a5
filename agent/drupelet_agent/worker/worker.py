"""The worker process: loads one variant, then decodes, infers and encodes until its parent closes the channel."""

from __future__ import annotations

import errno
import gc
import json
import mmap
import os
import signal
import socket
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path

from drupelet_agent.device.process_limit import limit_own_memory
from drupelet_agent.errors import MemoryBudgetError
from drupelet_agent.serving.workers.protocol import (
    INLINE_BYTES,
    MAX_PACKET_BYTES,
    MAX_TIMED_RUNS,
    SLOTS,
    Benchmark,
    CheckGolden,
    EndProfile,
    Failed,
    GoldenPassed,
    Infer,
    Measured,
    MemorySpent,
    Message,
    Profiled,
    Ready,
    Replied,
    TimedRuns,
    TimeRuns,
    WorkerSpec,
    decode_message,
    encode_message,
)
from drupelet_agent.worker.handler import Handled, RequestHandler
from drupelet_agent.worker.sandbox import enter_sandbox
from drupelet_shared.contract.wire import JSON_TYPE, OK_CODE, encode_error
from drupelet_shared.engines.base import Engine, Session, Tensors
from drupelet_shared.engines.benchmark import measure_times
from drupelet_shared.engines.profiling import ProfiledSession, ProfilingEngine
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.errors import (
    DrupeletError,
    ExpiredError,
    InferenceFailedError,
    ModelLoadError,
    PayloadSizeError,
    ProfilingUnavailableError,
    RequestError,
)
from drupelet_shared.inference import Encoded
from drupelet_shared.package.golden import check_golden, load_golden
from drupelet_shared.package.manifest import LABELS_PATH, MANIFEST_PATH, Manifest, parse_manifest
from drupelet_shared.postprocessing.answer import Answerer, read_priors
from drupelet_shared.postprocessing.specs import Detection
from drupelet_shared.process_memory import read_memory
from drupelet_shared.timing import summarize
from drupelet_shared.units import format_bytes


class Worker:
    """Handles the parent's messages with one loaded variant.

    Attributes:
        engine_version: The version of the engine that runs it.
        memory_spent: Whether a request has run out of memory; engines do not free all that it took.
    """

    def __init__(self, spec: WorkerSpec, memory: mmap.mmap) -> None:
        """Load the variant.

        Args:
            spec: What to load, and with which limits.
            memory: The slots that are shared with the parent.

        Raises:
            DrupeletError: The package, the engine or the model file is not usable.
        """
        self._memory = memoryview(memory)
        self._spec = spec
        self._slot_bytes = spec.slot_bytes
        self._folder = Path(spec.package_folder)
        self._manifest = parse_manifest((self._folder / MANIFEST_PATH).read_bytes())
        self._variant = self._manifest.variant(spec.variant)
        engine = load_engine(self._variant.engine, min_version=self._variant.engine_min_version)
        self.engine_version = engine.version
        self.memory_spent = False
        limit_own_memory(spec.memory_limit_bytes, threads=spec.threads, what=f"the engine of {spec.variant}")
        self._profiled: ProfiledSession | None = None
        path = self._folder / self._variant.path
        if spec.profile_folder is None:
            self._session: Session = engine.load(path, threads=spec.threads)
        else:
            self._session = self._profiled = _load_profiled(engine, path, spec)
        self._handler = RequestHandler(
            model_name=self._manifest.name,
            model_version=self._manifest.version,
            manifest=self._manifest,
            session=self._session,
            answerer=_make_answerer(self._folder, self._manifest),
        )
        # Eight bytes a run: a list of objects would count in the footprint that is measured.
        self._times_ms = array("d")
        self._inputs: Tensors | None = None
        self._actions: dict[type[Message], Callable[..., Message]] = {
            Infer: self._infer,
            CheckGolden: self._check_golden,
            Benchmark: self._benchmark,
            TimeRuns: self._time_runs,
            EndProfile: self._end_profile,
        }

    def answer(self, message: Message) -> Message:
        """Return the answer to a message of the parent."""
        try:
            return self._actions[type(message)](message)
        except DrupeletError as error:
            return Failed(code=error.code, message=str(error))
        except MemoryError as error:
            return _failure(error, self._spec)

    def _infer(self, message: Infer) -> Replied:
        started_s = time.monotonic()
        offset = message.slot * self._slot_bytes
        if message.payload is None:
            payload = self._memory[offset : offset + message.length]
        else:
            payload = memoryview(message.payload)
        code = OK_CODE
        try:
            if message.deadline_s is not None and started_s > message.deadline_s:
                raise ExpiredError(f"model {self._manifest.name}: the request expired before its turn")
            handled = self._handler.handle(
                payload, content_type=message.content_type, header_length=message.header_length
            )
            if (size := len(handled.encoded.payload)) > self._slot_bytes:
                raise PayloadSizeError(f"reply has {size} bytes: the limit is {self._slot_bytes}")
        except RequestError as error:
            code, handled = error.code, _error_reply(error)
        except MemoryError:
            self.memory_spent = True
            refusal = InferenceFailedError(f"model {self._manifest.name}: out of memory on this request")
            code, handled = refusal.code, _error_reply(refusal)
        encoded = handled.encoded
        inline = len(encoded.payload) <= INLINE_BYTES
        if not inline:
            self._memory[offset : offset + len(encoded.payload)] = encoded.payload
        return Replied(
            slot=message.slot,
            length=len(encoded.payload),
            content_type=encoded.content_type,
            header_length=encoded.header_length,
            code=code,
            started_s=started_s,
            decode_ms=handled.decode_ms,
            inference_ms=handled.inference_ms,
            encode_ms=handled.encode_ms,
            payload=encoded.payload if inline else None,
        )

    def _check_golden(self, _: CheckGolden) -> GoldenPassed:
        golden = load_golden(self._folder / self._variant.golden.path)
        return GoldenPassed(check_golden(self._session, golden, tolerance=self._variant.golden.tolerance))

    def _time_runs(self, message: TimeRuns) -> TimedRuns:
        times_ms = measure_times(
            self._session,
            self._timed_inputs(),
            warmup=message.warmup,
            runs=min(message.runs, MAX_TIMED_RUNS),
            max_seconds=message.max_seconds,
        )
        return TimedRuns([round(time_ms, 6) for time_ms in times_ms], _footprint_bytes())

    def _timed_inputs(self) -> Tensors:
        if self._inputs is None:
            self._inputs = load_golden(self._folder / self._variant.golden.path).sample(0)
        return self._inputs

    def _benchmark(self, message: Benchmark) -> Measured:
        self._times_ms.extend(
            measure_times(
                self._session,
                self._timed_inputs(),
                warmup=message.warmup,
                runs=message.runs,
                max_seconds=message.max_seconds,
            )
        )
        timing = summarize(self._times_ms)
        assert timing.p50_interval is not None, "summarize knows the times"
        assert timing.p99_interval is not None, "see above"
        return Measured(
            p50_ms=timing.p50_ms,
            p95_ms=timing.p95_ms,
            p99_ms=timing.p99_ms,
            runs=timing.runs,
            mean_ms=timing.mean_ms,
            p50_low_ms=timing.p50_interval.low_ms,
            p50_high_ms=timing.p50_interval.high_ms,
            p99_low_ms=timing.p99_interval.low_ms,
            p99_high_ms=timing.p99_interval.high_ms,
            footprint_bytes=_footprint_bytes(),
        )

    def _end_profile(self, _: EndProfile) -> Profiled:
        if self._profiled is None:
            raise ProfilingUnavailableError(f"variant {self._spec.variant}: this worker records no profile")
        return Profiled(self._profiled.end_profiling().name)


def _load_profiled(engine: Engine, path: Path, spec: WorkerSpec) -> ProfiledSession:
    assert spec.profile_folder is not None, "the caller checks it"
    if not isinstance(engine, ProfilingEngine):
        raise ProfilingUnavailableError(
            f"{spec.variant}: {engine.name} {engine.version} has no profiler that a program can read; "
            "a variant for onnxruntime can be profiled"
        )
    return engine.load_profiled(path, threads=spec.threads, folder=Path(spec.profile_folder))


def _footprint_bytes() -> int:
    """Return the memory that this process needs: its peak resident size, or what it has allocated if that is more."""
    # Not getrusage: its maximum includes the memory of the parent at the time of the fork.
    memory = read_memory()
    return max(memory.peak_bytes, memory.data_bytes)


def _failure(error: DrupeletError | OSError | MemoryError, spec: WorkerSpec) -> Failed:
    if isinstance(error, DrupeletError):
        return Failed(code=error.code, message=str(error))
    if isinstance(error, MemoryError) or error.errno == errno.ENOMEM:
        limit = format_bytes(spec.memory_limit_bytes)
        return Failed(code=MemoryBudgetError.code, message=f"{spec.variant} needs more than its limit of {limit}")
    return Failed(code=ModelLoadError.code, message=f"{spec.variant}: {error}")


def _error_reply(error: RequestError) -> Handled:
    payload = encode_error(error, request_id=error.request_id)
    encoded = Encoded(payload=payload, content_type=JSON_TYPE, header_length=None)
    return Handled(encoded=encoded, decode_ms=0.0, inference_ms=0.0, encode_ms=0.0)


def _make_answerer(folder: Path, manifest: Manifest) -> Answerer | None:
    postprocessing = manifest.postprocessing
    if postprocessing is None:
        return None
    priors = postprocessing.priors if isinstance(postprocessing, Detection) else None
    return Answerer(
        postprocessing,
        labels=_read_labels(folder, manifest),
        priors=None if priors is None else read_priors((folder / priors).read_bytes()),
    )


def _read_labels(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    if LABELS_PATH not in {entry.path for entry in manifest.files}:
        return ()
    return tuple((folder / LABELS_PATH).read_text(encoding="utf-8").splitlines())


def _serve(channel: socket.socket, worker: Worker) -> None:
    while packet := channel.recv(MAX_PACKET_BYTES):
        channel.send(encode_message(worker.answer(decode_message(packet))))
        if worker.memory_spent:
            channel.send(encode_message(MemorySpent()))
            break
    # Requests that arrive before the parent has read that are for the next worker.
    while channel.recv(MAX_PACKET_BYTES):
        pass


def main() -> int:
    """Run until the parent closes the channel, and return the exit status; the argument is a `WorkerSpec` as JSON."""
    # The parent decides when a worker ends; Ctrl-C in its terminal reaches the worker too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    spec = WorkerSpec(**json.loads(sys.argv[1]))
    channel = socket.socket(fileno=spec.socket_fd)
    memory = mmap.mmap(spec.memory_fd, SLOTS * spec.slot_bytes)
    os.close(spec.memory_fd)
    sandbox_gaps = enter_sandbox(
        Path(spec.package_folder), writable=None if spec.profile_folder is None else Path(spec.profile_folder)
    )
    start = time.perf_counter()
    try:
        worker = Worker(spec, memory)
    except (DrupeletError, OSError, MemoryError) as error:
        channel.send(encode_message(_failure(error, spec)))
        return 1
    load_ms = (time.perf_counter() - start) * 1e3
    ready = Ready(engine_version=worker.engine_version, load_ms=load_ms, sandbox_gaps=",".join(sandbox_gaps))
    channel.send(encode_message(ready))
    # What was loaded stays, so the garbage collector need not traverse it again during a request.
    gc.freeze()
    _serve(channel, worker)
    return 0
