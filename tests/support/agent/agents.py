"""The real agent as its own process, with everything it publishes recorded by a client of its own."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho

from drupelet_shared.contract.topics import DeviceTopics
from support.broker.brokers import Broker
from support.broker.subscriber import subscriber

DEVICE = "pi-test"
_PATIENCE_S = 20.0


def agent_command(config: Path, *words: str) -> list[str]:
    """Return the command line of the agent in this environment."""
    return [sys.executable, "-m", "drupelet_agent", "--config", str(config), *words]


def run_agent_command(config: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one of the agent's commands to its end."""
    result = subprocess.run(agent_command(config, *words), capture_output=True, text=True, timeout=90, check=False)
    assert not check or result.returncode == 0, result.stderr
    return result


def write_config(
    folder: Path, broker: Broker, *, extra: str = "", device: str = DEVICE, interval_s: float = 0.5
) -> Path:
    """Return a configuration for tests: state and trust under `folder`, quick tuning, short windows."""
    path = folder / "agent.toml"
    (folder / "trust").mkdir(exist_ok=True)
    account = ""
    if broker.username is not None:
        (folder / "broker-password").write_text("any\n", encoding="utf-8")
        account = f'broker.username = "{broker.username}"\n        broker.password_file = "broker-password"'
    text = f"""
        device = "{device}"
        state_dir = "state"
        trust.folder = "trust"
        broker.host = "{broker.host}"
        broker.port = {broker.port}
        {account}
        tuning.runs = 10
        tuning.warmup = 1
        tuning.threads = [1]
        telemetry.interval_s = {interval_s}
        {extra}
    """
    path.write_text(text, encoding="utf-8")
    return path


@dataclass
class Listener:
    """Everything that was published under one device's base topic."""

    client: paho.Client
    topics: DeviceTopics
    messages: queue.Queue[paho.MQTTMessage]
    latest: dict[str, bytes] = field(default_factory=dict)
    patience_s: float = _PATIENCE_S

    def wait_for(self, topic: str, **expected: object) -> dict[str, Any]:
        """Return the first message on a topic, past or coming, whose JSON has these members."""
        deadline = time.monotonic() + self.patience_s
        seen: object = "nothing"
        while True:
            if topic in self.latest:
                seen = json.loads(self.latest[topic])
                if seen.items() >= expected.items():
                    return seen
            remaining = deadline - time.monotonic()
            assert remaining > 0, f"{topic}: waited for {expected}, last saw {seen}"
            try:
                message = self.messages.get(timeout=remaining)
            except queue.Empty:
                continue
            self.latest[message.topic] = message.payload


@contextmanager
def listener(broker: Broker, *, device: str = DEVICE) -> Iterator[Listener]:
    """Record what a device publishes."""
    topics = DeviceTopics(device)
    messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
    with subscriber(broker, f"{topics.base}/#", messages.put) as client:
        yield Listener(client=client, topics=topics, messages=messages)


@dataclass
class RunningAgent:
    """An agent process."""

    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> int:
        """End it in good order and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=_PATIENCE_S)


@contextmanager
def running_agent(config: Path) -> Iterator[RunningAgent]:
    """Start the agent; it is killed at the end if it still runs."""
    log = config.parent / "agent.log"
    with log.open("ab") as output, subprocess.Popen(agent_command(config, "run"), stderr=output) as process:
        try:
            yield RunningAgent(process=process, log=log)
        finally:
            process.kill()
