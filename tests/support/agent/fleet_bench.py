"""A fleet over a real store, with fakes in place of workers, clock and device."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.device.snapshot import Snapshot
from drupelet_agent.serving.fleet import Fleet
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store
from drupelet_shared.contract.messages import ModelState
from fakes.clock import FakeClock
from fakes.workers import FakeWorker, FakeWorkers
from support.agent.serving import Jobs

MB = 10**6
DEVICE = Snapshot(
    cpu_model="Raspberry Pi 4 Model B Rev 1.4",
    cores=4,
    cpu_quota=None,
    memory_total_bytes=4000 * MB,
    memory_available_bytes=3000 * MB,
    temperature_celsius=50.0,
    throttled=False,
)


def make_config(folder: Path, **sections: object) -> AgentConfig:
    """Return a configuration whose state lies in a folder, with some sections set."""
    return AgentConfig.model_validate(
        {
            "device": "pi-test",
            "state_dir": folder / "state",
            "broker": {"host": "localhost"},
            "trust": {"folder": folder},
            **sections,
        }
    )


def install(store: Store, activation: Activation) -> None:
    """Make a release active, as an installation does."""
    with store.writer() as writer, writer.staging_folder() as folder:
        (folder / "package").mkdir()
        writer.commit(folder / "package", activation.digest)
        writer.activate(activation)
        writer.collect()


def remove(store: Store, model: str) -> None:
    """Remove a model, as the command does."""
    with store.writer() as writer:
        writer.remove(model)
        writer.collect()


@dataclass
class FleetBench:
    """The fleet, and what it published."""

    folder: Path
    sections: dict[str, object] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)
    workers: FakeWorkers = field(default_factory=FakeWorkers)
    states: list[ModelState] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    snapshot: Snapshot = DEVICE
    request_bytes: int = 10 * MB

    def __post_init__(self) -> None:
        self.config = make_config(self.folder, **self.sections)
        self.store = Store(self.config.state_dir)
        self.store.create()
        self.jobs = Jobs(self.clock)
        self.fleet = Fleet(
            self.store,
            self.config,
            request_bytes=self.request_bytes,
            on_state=self.states.append,
            on_outcome=lambda _, outcome: self.outcomes.append(outcome.code),
            spawn=self.workers,
            clock=self.clock,
            read_snapshot=lambda: self.snapshot,
        )

    def install(self, activation: Activation) -> None:
        """Make a release active, and let the fleet follow."""
        install(self.store, activation)
        self.fleet.follow_store()

    def serve(self, activation: Activation) -> FakeWorker:
        """Make a release active and its one worker ready."""
        self.install(activation)
        self.workers.latest.become_ready()
        return self.workers.latest

    def remove(self, model: str) -> None:
        """Remove a model, and let the fleet follow."""
        remove(self.store, model)
        self.fleet.follow_store()

    def submit(self, *payloads: bytes, model: str = "digits", version: str | None = None) -> None:
        for payload in payloads:
            self.fleet.find(model, version).submit(self.jobs.make(payload))

    def crash(self, times: int = 3) -> None:
        """Let the worker that was started last, and those that replace it, end."""
        for _ in range(times):
            self.workers.latest.die()
            self.clock.advance(1)

    @property
    def latest_state(self) -> ModelState:
        return self.states[-1]


async def settle() -> None:
    """Let tasks that are ready run."""
    for _ in range(10):
        await asyncio.sleep(0)
