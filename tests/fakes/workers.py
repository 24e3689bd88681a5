"""Workers without a process: a test decides when they are ready, what they answer and when they end."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable

from drupelet_agent.errors import WorkerError, WorkerTimeoutError
from drupelet_agent.serving.workers.protocol import (
    Failed,
    Infer,
    MemorySpent,
    Message,
    Ready,
    Replied,
    WorkerSpec,
)
from drupelet_shared.contract.wire import JSON_TYPE, OK_CODE

_pids = itertools.count(50_001)

Answer = Callable[[Message], Message | WorkerError]


class FakeWorker:
    """Implements `Worker`.

    `requests` are those that were sent and not answered, oldest first. With `answer`, each message is answered at once.
    """

    def __init__(self, spec: WorkerSpec, answer: Answer | None = None) -> None:
        self.spec = spec
        self.sent: list[Message] = []
        self.requests: list[Infer] = []
        self.limits_bytes: list[int] = []
        self.closed = False
        self._pid = next(_pids)
        self._answer = answer
        self._received: deque[Message | WorkerError] = deque()
        self._end: WorkerError | None = None
        self._on_readable: Callable[[], None] | None = None

    @property
    def pid(self) -> int:
        return self._pid

    def watch(self, on_readable: Callable[[], None]) -> None:
        self._on_readable = on_readable
        while self._received and not self.closed:
            on_readable()

    def send(self, message: Message) -> None:
        if self._end is not None:
            raise self._end
        self.sent.append(message)
        if isinstance(message, Infer):
            self.requests.append(message)
        if self._answer is not None:
            self.deliver(self._answer(message))

    def send_request(
        self,
        payload: bytes,
        *,
        slot: int,
        content_type: str | None,
        header_length: int | None,
        deadline_s: float | None = None,
    ) -> None:
        self.send(
            Infer(
                slot=slot,
                length=len(payload),
                content_type=content_type,
                header_length=header_length,
                deadline_s=deadline_s,
                payload=payload,
            )
        )

    def receive(self, *, timeout_s: float | None = None) -> Message:
        if not self._received:
            if self._end is not None:
                raise self._end
            raise WorkerTimeoutError(f"worker {self.pid}: no answer within {timeout_s} s")
        message = self._received.popleft()
        if isinstance(message, WorkerError):
            self._end = message
            raise message
        return message

    def payload_of(self, reply: Replied) -> bytes:
        assert reply.payload is not None
        return reply.payload

    def limit_memory(self, spec: WorkerSpec) -> None:
        self.limits_bytes.append(spec.memory_limit_bytes)

    def close(self) -> None:
        self.closed = True

    def deliver(self, message: Message | WorkerError) -> None:
        """Let the parent receive a message, or learn that the worker has ended."""
        self._received.append(message)
        if self._on_readable is not None and not self.closed:
            self._on_readable()

    def become_ready(self) -> None:
        self.deliver(Ready(engine_version="1.20", load_ms=1.0))

    def reply(self, *, code: str = OK_CODE, inference_ms: float = 1.0) -> bytes:
        """Answer the oldest request; its payload is the reply's."""
        request = self.requests.pop(0)
        assert request.payload is not None
        self.deliver(
            Replied(
                slot=request.slot,
                length=request.length,
                content_type=JSON_TYPE,
                header_length=None,
                code=code,
                started_s=0.0,
                decode_ms=0.1,
                inference_ms=inference_ms,
                encode_ms=0.1,
                payload=request.payload,
            )
        )
        return request.payload

    def fail(self, message: str, *, code: str = "model_load_failed") -> None:
        """Fail as a worker that cannot load its model does."""
        self.deliver(Failed(code=code, message=message))

    def run_out_of_memory(self) -> None:
        self.deliver(MemorySpent())

    def die(self, reason: str = "signal SIGKILL") -> None:
        """End, as a worker that was killed does."""
        self.deliver(WorkerError(f"worker {self.pid} ended: {reason}"))

    def break_channel(self) -> None:
        """Refuse what is sent, before the parent learns that the worker has ended."""
        self._end = WorkerError(f"worker {self.pid}: Broken pipe")


class FakeWorkers:
    """Implements `Spawn`; keeps every worker that was started, oldest first."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.started: list[FakeWorker] = []
        self._answer = answer
        self.refuse: WorkerError | None = None

    def __call__(self, spec: WorkerSpec) -> FakeWorker:
        if self.refuse is not None:
            raise self.refuse
        worker = FakeWorker(spec, self._answer)
        self.started.append(worker)
        return worker

    @property
    def latest(self) -> FakeWorker:
        return self.started[-1]

    @property
    def open(self) -> list[FakeWorker]:
        """Those that the parent has not closed."""
        return [worker for worker in self.started if not worker.closed]
