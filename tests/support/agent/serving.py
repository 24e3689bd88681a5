"""Servers, jobs and limits for tests of the serving side, with fakes in place of workers and clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from drupelet_agent.planning.budget import Budget
from drupelet_agent.serving.job import Job, Outcome, StageTimes
from drupelet_agent.serving.memory_shares import MemoryShares
from drupelet_agent.serving.server import ModelServer, QueueLimits, ServerEvents
from drupelet_agent.serving.workers.protocol import WorkerSpec
from drupelet_agent.store.records import Activation
from fakes.clock import FakeClock
from fakes.workers import FakeWorkers
from support.agent.values import make_activation

SLOT_BYTES = 1000
INFERENCE_TIMEOUT_S = 5.0
SPEC = WorkerSpec(
    package_folder="/nowhere", variant="ort-fp32", threads=1, memory_limit_bytes=100, slot_bytes=SLOT_BYTES
)


@dataclass
class Jobs:
    """Makes jobs and keeps their outcomes, in the order in which they finish."""

    clock: FakeClock
    finished: list[tuple[bytes, Outcome]] = field(default_factory=list)

    def make(self, payload: bytes, *, deadline_s: float | None = None) -> Job:
        return Job(
            payload=payload,
            content_type=None,
            header_length=None,
            received_s=self.clock.now_s(),
            deadline_s=deadline_s,
            finish=lambda outcome: self.finished.append((payload, outcome)),
        )

    @property
    def codes(self) -> list[tuple[bytes, str]]:
        return [(payload, outcome.code) for payload, outcome in self.finished]


@dataclass
class ServerBench:
    """One server with fakes around it, and what it told them."""

    activation: Activation = field(default_factory=make_activation)
    queue_length: int = 10
    payload_bytes: int = 10**6
    wake_answer: str | None = None
    clock: FakeClock = field(default_factory=FakeClock)
    workers: FakeWorkers = field(default_factory=FakeWorkers)
    healths: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.clock)
        self.server = ModelServer(
            self.activation,
            SPEC,
            limits=QueueLimits(
                length=self.queue_length, payload_bytes=self.payload_bytes, inference_timeout_s=INFERENCE_TIMEOUT_S
            ),
            shares=MemoryShares(lambda: Budget(10**9, "limits.memory")),
            events=ServerEvents(
                on_health=lambda server: self.healths.append(server.health),
                on_outcome=lambda _, outcome: self.outcomes.append(outcome.code),
                wake=self._wake,
            ),
            spawn=self.workers,
            clock=self.clock,
        )

    def _wake(self, server: ModelServer) -> str | None:
        self.woken.append(server.activation.model)
        return self.wake_answer

    def start_ready(self) -> None:
        self.server.start()
        for worker in self.workers.open:
            worker.become_ready()

    def submit(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.server.submit(self.jobs.make(payload))


def answered(inference_ms: float) -> Outcome:
    """Return the outcome of a request that the engine answered."""
    return Outcome(code="ok", payload=b"", times=StageTimes(1.0, 1.0, inference_ms, 1.0, inference_ms + 3.0))
