"""The process of one command: what it reads, and the lines that it answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from drupelet_agent.app.command_process import run
from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.measuring.gate import ServingGate
from drupelet_agent.store.store import Store
from support.agent.fleet_bench import install, make_config
from support.agent.values import make_activation


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    config = make_config(tmp_path)
    store = Store(config.state_dir)
    store.create()
    for release in (1, 2):
        install(store, make_activation(release=release))
    return config


def answers(name: str, payload: bytes, config: AgentConfig) -> tuple[int, list[tuple[str, dict[str, object]]]]:
    received: list[tuple[str, dict[str, object]]] = []
    status = run(name, payload, config, lambda code, answer: received.append((code, json.loads(answer))))
    return status, received


def test_progress_precedes_the_result(config: AgentConfig) -> None:
    status, received = answers("rollback", b'{"model": "digits"}', config)
    assert status == 0
    assert [code for code, _ in received] == ["progress", "ok"]
    assert received[0][1] == {"command": "rollback", "stage": "active", "detail": "digits release 1"}
    assert received[1][1]["release"] == 1
    assert "signed_by" not in received[1][1]


def test_a_command_without_a_payload_has_an_empty_request(config: AgentConfig) -> None:
    status, ((code, answer),) = answers("list", b"", config)
    assert (status, code) == (0, "ok")
    assert [model["model"] for model in answer["models"]] == ["digits"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"model": "../digits"}', b"{}"])
def test_a_malformed_request_is_refused_with_the_name_of_the_command(config: AgentConfig, payload: bytes) -> None:
    status, ((code, answer),) = answers("rollback", payload, config)
    assert (status, code) == (1, "invalid_command")
    assert str(answer["error"]).startswith("command rollback: ")


def test_an_error_of_the_command_is_its_answer(config: AgentConfig) -> None:
    status, ((code, answer),) = answers("remove", b'{"model": "faces"}', config)
    assert (status, code, answer["code"]) == (1, "not_installed", "not_installed")


def test_the_process_reads_name_configuration_and_payload_and_answers_in_lines(config: AgentConfig) -> None:
    gate = ServingGate()
    words = [sys.executable, "-m", "drupelet_agent.app.command_process", str(gate.descriptor)]
    text = f'rollback\n{config.model_dump_json()}\n{{"model": "digits"}}'.encode()
    ended = subprocess.run(words, input=text, capture_output=True, timeout=60, check=False, pass_fds=(gate.descriptor,))
    assert ended.returncode == 0
    codes = [line.partition(b" ")[0] for line in ended.stdout.splitlines()]
    assert codes == [b"progress", b"ok"]
    assert b"command=rollback active: digits release 1" in ended.stderr
