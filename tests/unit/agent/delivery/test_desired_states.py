"""Desired states: what arrives, the commands that follow, and what the device publishes of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from drupelet_agent.delivery.desired import MAX_DESIRED, DesiredStates
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.store.records import ModelRecord
from drupelet_agent.store.store import Store
from drupelet_shared.contract.topics import DeviceTopics
from support.agent.fleet_bench import install
from support.agent.scenarios import run_scenario
from support.agent.values import make_activation

TOPICS = DeviceTopics("pi-test")
SOURCE = "https://host/digits.drupe"


@dataclass
class CountingStore(Store):
    """A store that counts how often records are read."""

    folder: Path
    reads: int = 0

    def __post_init__(self) -> None:
        super().__init__(self.folder)
        self.create()

    def record(self, model: str) -> ModelRecord:
        self.reads += 1
        return super().record(model)


@dataclass
class FakeRunner:
    """Records commands, and answers each with what the test sets."""

    code: str = "ok"
    error: Exception | None = None
    answer: dict[str, object] = field(default_factory=dict)
    commands: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    async def run(self, name: str, payload: bytes, *, on_answer: Callable[[str, bytes], None]) -> str:
        self.commands.append((name, json.loads(payload)))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        on_answer(self.code, json.dumps(self.answer).encode())
        return self.code


@dataclass
class Bench:
    """Desired states between a real store, a fake runner and a list of publications."""

    folder: Path
    runner: FakeRunner = field(default_factory=FakeRunner)
    published: list[Publication] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = CountingStore(self.folder)
        self.desired = DesiredStates(TOPICS, self.store, self.runner, publish=self.published.append)

    def desire(self, payload: dict[str, object] | bytes, *, model: str = "digits", retain: bool = False) -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.desired.handle(Message(topic=TOPICS.desired(model), payload=data, retain=retain))

    async def poll(self) -> None:
        """Poll once, and let a command that was started end."""
        await self.desired.poll()
        for _ in range(5):
            await asyncio.sleep(0)

    @property
    def latest(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.published[-1].payload)
        return document


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[Bench], Awaitable[None]]], None]:
    """Run a scenario on an event loop."""
    return partial(run_scenario, lambda: Bench(tmp_path / "state"))


Play = Callable[[Callable[[Bench], Awaitable[None]]], None]


def test_what_is_not_installed_is_installed_once(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.desire({"version": "1.0.0", "source": SOURCE})
        await bench.poll()
        assert bench.runner.commands == [("install", {"model": "digits", "version": "1.0.0", "source": SOURCE})]
        install(bench.store, make_activation(release=1))
        await bench.poll()
        assert bench.latest["state"] == "in_sync"
        assert len(bench.runner.commands) == 1

    play(scenario)


def test_desired_states_are_bounded_and_a_flood_displaces_none(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.runner.code, bench.runner.answer = "source_error", {"error": "no"}
        for number in range(MAX_DESIRED):
            bench.desire({"version": "1.0.0", "source": SOURCE}, model=f"m{number}")
        await bench.poll()
        bench.desire({"version": "1.0.0", "source": SOURCE}, model="one-more")
        assert bench.latest["code"] == "invalid_desired_state"
        assert "1024 models have one already" in str(bench.latest["error"])
        # A broker that has lost the session sends what it retains in any order.
        bench.desired.connected(session_present=False)
        for number in range(MAX_DESIRED):
            bench.desire({"version": "1.0.0", "source": SOURCE}, model=f"rubbish{number}", retain=True)
        bench.published.clear()
        bench.desire({"version": "2.0.0", "source": SOURCE}, model="m7", retain=True)
        assert bench.published == []
        bench.desire(b"", model="rubbish1")
        bench.desire(b"", model="rubbish2")
        bench.desire({"version": "1.0.0", "source": SOURCE}, model="one-more")
        # The latest message is the withdrawal: the new state is not refused.
        assert bench.published[-1].payload == b""

    play(scenario)


def test_a_command_that_cannot_be_run_at_all_is_a_failure_with_a_delay(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.runner.error = OSError(12, "Cannot allocate memory")
        bench.desire({"version": "1.0.0", "source": SOURCE})
        for _ in range(5):
            await bench.poll()
        assert len(bench.runner.commands) == 1
        assert bench.latest["code"] == "command_failed"
        assert "Cannot allocate memory" in str(bench.latest["error"])

    play(scenario)


def test_a_staged_release_is_activated_and_not_fetched(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        install(bench.store, make_activation(release=1))
        with bench.store.writer() as writer:
            writer.stage(make_activation(release=2))
        bench.desire({"version": "2.0.0", "source": SOURCE})
        await bench.poll()
        assert bench.runner.commands == [("activate", {"model": "digits", "release": 2})]

    play(scenario)


def test_a_failure_is_published_with_its_code_and_waits(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.runner.code, bench.runner.answer = "source_error", {"error": "404"}
        bench.desire({"version": "1.0.0", "source": f"{SOURCE}?token=secret"})
        await bench.poll()
        await bench.poll()
        assert (bench.latest["state"], bench.latest["code"], bench.latest["failures"]) == ("failed", "source_error", 1)
        assert len(bench.runner.commands) == 1
        assert all(b"secret" not in publication.payload for publication in bench.published)

    play(scenario)


def test_the_same_state_published_again_is_tried_at_once(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.runner.code, bench.runner.answer = "source_error", {"error": "404"}
        for _ in range(2):
            bench.desire({"version": "1.0.0", "source": SOURCE})
            await bench.poll()
        assert len(bench.runner.commands) == 2

    play(scenario)


@pytest.mark.parametrize("source", ["https://user:hunter2@host/x", "https://[::1/x", "file:///%00x"])
def test_a_source_that_can_never_be_opened_fails_for_good_and_is_not_repeated(play: Play, source: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.desire({"version": "1.0.0", "source": source})
        await bench.poll()
        assert (bench.latest["state"], bench.latest["code"]) == ("failed", "source_error")
        assert "retry_in_s" not in bench.latest
        assert bench.runner.commands == []
        assert b"hunter2" not in bench.published[-1].payload

    play(scenario)


def test_an_empty_message_withdraws_the_state(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.desire({"version": "1.0.0", "source": SOURCE})
        bench.desire(b"")
        await bench.poll()
        assert bench.runner.commands == []
        assert bench.published[-1] == Publication(TOPICS.delivery("digits"), b"", retain=True)

    play(scenario)


def test_records_are_read_only_when_something_has_changed(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        install(bench.store, make_activation(release=1))
        bench.desire({"version": "1.0.0", "source": SOURCE})
        await bench.poll()
        before = bench.store.reads
        for _ in range(10):
            await bench.poll()
        assert bench.store.reads == before
        install(bench.store, make_activation(release=2))
        await bench.poll()
        assert bench.store.reads > before

    play(scenario)


def test_what_is_desired_outlives_the_process(play: Play, tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        bench.desire({"version": "1.0.0", "source": SOURCE})
        await bench.poll()
        restarted = Bench(tmp_path / "state")
        await restarted.poll()
        assert [name for name, _ in restarted.runner.commands] == ["install"]

    play(scenario)
