"""Commands in processes: their answers, their order, and their end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from drupelet_agent.commands.runner import CommandRunner
from drupelet_agent.measuring.gate import ServingGate
from drupelet_agent.store.store import Store
from drupelet_shared.errors import BusyError, CommandFailedError
from support.agent.fleet_bench import install, make_config
from support.agent.scenarios import run_scenario
from support.agent.values import make_activation
from support.broker.mqtt_clients import eventually

pytestmark = pytest.mark.slow
ROLL_BACK = b'{"model": "digits"}'


class Bench:
    """A runner over a store with two releases of a model."""

    def __init__(self, folder: Path) -> None:
        config = make_config(folder)
        self.store = Store(config.state_dir)
        self.store.create()
        for release in (1, 2):
            install(self.store, make_activation(release=release))
        self.runner = CommandRunner(config, ServingGate())
        self.answers: list[tuple[str, str, dict[str, object]]] = []

    async def run(self, name: str, payload: bytes = b"", **options: float) -> str:
        def on_answer(code: str, answer: bytes) -> None:
            self.answers.append((name, code, json.loads(answer)))

        return await self.runner.run(name, payload, on_answer=on_answer, **options)

    def start(self, name: str, payload: bytes = b"") -> asyncio.Task[str]:
        return asyncio.create_task(self.run(name, payload))


def processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "command_process" in " ".join(child.cmdline())]


Scenario = Callable[[Bench], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    return partial(run_scenario, lambda: Bench(tmp_path))


def test_progress_and_result_of_a_command_are_passed_on(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.run("rollback", ROLL_BACK) == "ok"
        assert [(code, answer.get("stage")) for _, code, answer in bench.answers] == [
            ("progress", "active"),
            ("ok", None),
        ]
        assert bench.answers[-1][2]["release"] == 1
        assert bench.store.active()["digits"].release == 1

    play(scenario)


def test_a_refusal_is_an_answer_with_its_code(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.run("rollback", b'{"model": "faces"}') == "not_installed"
        assert await bench.run("rollback", b"{") == "invalid_command"
        assert [code for _, code, _ in bench.answers] == ["not_installed", "invalid_command"]

    play(scenario)


def test_commands_that_change_the_store_take_turns_and_others_pass_them(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        with bench.store.writer():
            first, second = bench.start("rollback", ROLL_BACK), bench.start("rollback", ROLL_BACK)
            assert await bench.run("list") == "ok"
            assert len(processes()) == 1
            assert [name for name, _, _ in bench.answers] == ["list"]
        assert await asyncio.gather(first, second) == ["ok", "ok"]
        releases = [answer["release"] for name, code, answer in bench.answers if (name, code) == ("rollback", "ok")]
        assert releases == [1, 2]

    play(scenario)


def test_a_ninth_command_that_changes_the_store_is_refused_and_others_are_not(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        with bench.store.writer():
            tasks = [bench.start("rollback", ROLL_BACK) for _ in range(8)]
            await eventually(processes)
            with pytest.raises(BusyError, match="command rollback: 8 commands are accepted already"):
                await bench.run("rollback", ROLL_BACK)
            assert await bench.run("list") == "ok"
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert await bench.run("rollback", ROLL_BACK) == "ok"

    play(scenario)


def test_a_command_whose_deadline_has_passed_is_given_up_in_silence(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        now_s = asyncio.get_running_loop().time()
        assert await bench.run("list", deadline_s=now_s - 1) == "expired"
        assert bench.answers == []
        assert await bench.run("list", deadline_s=now_s + 1000) == "ok"

    play(scenario)


def test_a_process_that_dies_is_an_error_with_its_status(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        with bench.store.writer():
            task = bench.start("rollback", ROLL_BACK)
            await eventually(processes)
            processes()[0].kill()
            with pytest.raises(CommandFailedError, match="command rollback: its process ended with status -9"):
                await task

    play(scenario)


def test_cancelling_ends_the_process(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        with bench.store.writer():
            task = bench.start("rollback", ROLL_BACK)
            await eventually(processes)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert processes() == []
        assert bench.store.active()["digits"].release == 2

    play(scenario)
