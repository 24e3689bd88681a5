"""Measuring again beside a running agent: in a process of its own, whose failure changes nothing."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

import psutil
import pytest

from drupelet_agent.app import retuning
from drupelet_agent.serving.guard.retune_process import retune_in_process
from support.agent.installed import InstalledBench
from support.agent.root_logger import restored_root_logger
from support.broker.mqtt_clients import eventually


@pytest.fixture
def bench(tmp_path: Path) -> InstalledBench:
    bench = InstalledBench(tmp_path)
    bench.store.create()
    return bench


def processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "drupelet_agent.app.retuning" in child.cmdline()]


def call_main(bench: InstalledBench, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    text = bench.config.model_dump_json().encode()
    monkeypatch.setattr(sys, "argv", ["retuning", *words])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    with restored_root_logger():
        return retuning.main()


@pytest.mark.slow
def test_a_new_plan_is_recorded_with_its_reason(bench: InstalledBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.install(bench.package())
    assert call_main(bench, monkeypatch, "digits", "hot", "--fresh") == 0
    asyncio.run(retune_in_process("digits", "usable cores 4 -> 2", fresh=False, config=bench.config))
    changes = [(change.what, change.why) for change in bench.store.record("digits").changes]
    assert changes[1:] == [("tuned", "hot"), ("tuned", "usable cores 4 -> 2")]


def test_a_model_that_is_not_installed_is_an_exit_status_of_1(
    bench: InstalledBench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call_main(bench, monkeypatch, "digits", "hot") == 1
    assert "tune model=digits: " in capfd.readouterr().err


def test_a_failure_of_the_process_is_logged(bench: InstalledBench, caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(retune_in_process("digits", "hot", fresh=False, config=bench.config))
    assert "tune model=digits failed, the plan stays as it is" in caplog.text


def test_cancelling_ends_the_process(bench: InstalledBench) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(retune_in_process("digits", "hot", fresh=True, config=bench.config))
        await eventually(processes)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert processes() == []

    # Another process measures, so this one waits.
    with bench.store.measuring(timeout_s=0.0):
        asyncio.run(scenario())
