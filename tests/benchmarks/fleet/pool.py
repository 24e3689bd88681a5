"""A pool of real agents under load, of which one is killed every second: is every request answered, and how many?

python -m benchmarks.fleet.pool --agents 20 --seconds 30
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import read_machine
from drupelet_host.client import BrokerAddress, PoolClient
from drupelet_host.errors import RemoteError
from drupelet_shared.inference import InferenceRequest, encode_request
from support.agent.agents import RunningAgent, running_agent
from support.agent.sites import Site, make_site
from support.broker.brokers import Broker, mosquitto_broker

_POOL = "door"
_THREADS = 16
_PATIENCE_S = 240.0
_TIMEOUT_S = 60.0
_BODY = encode_request(InferenceRequest(inputs={"image": np.full((1, 1, 8, 8), 0.5, np.float32)}), binary=True)


@dataclass(slots=True)
class Members:
    """The agents of the pool, each of which can be killed and started again."""

    broker: Broker
    configs: list[Path]
    stack: ExitStack
    running: dict[int, RunningAgent] = field(default_factory=dict)

    def start(self, number: int) -> None:
        """Start an agent; it is ready some time later."""
        self.running[number] = self.stack.enter_context(running_agent(self.configs[number]))

    def kill(self, number: int) -> None:
        """Kill an agent as a power cut does."""
        process = self.running[number].process
        process.kill()
        process.wait()


def make_members(folder: Path, broker: Broker, count: int, stack: ExitStack) -> tuple[Members, list[Site]]:
    """Install the model once, and copy what is on disk for each further agent."""
    (folder / "0").mkdir()
    first = make_site(folder / "0")
    extra = f'pools = ["{_POOL}"]\ntuning.max_seconds = 0.2\nlimits.memory = "256MB"'
    first.install(first.configure(broker, extra=extra))
    sites = [first]
    for number in range(1, count):
        place = folder / str(number)
        shutil.copytree(folder / "0", place)
        topics = type(first.topics)(f"{first.topics.device}-{number}")
        sites.append(Site(place, first.keys, topics))
    configs = [site.configure(broker, extra=extra) for site in sites]
    return Members(broker, configs, stack), sites


def load(client: PoolClient, seconds: float) -> tuple[Counter[str], float]:
    """Ask from many threads for some time; returns the outcomes and the answered requests per second."""
    outcomes: Counter[str] = Counter()
    lock, end_s, start_s = threading.Lock(), time.monotonic() + seconds, time.monotonic()

    def ask(_: int) -> None:
        while time.monotonic() < end_s:
            try:
                client.submit("digits", _BODY, timeout_s=_TIMEOUT_S).result()
                outcome = "answered"
            except RemoteError as error:
                outcome = error.device_code or error.code
            with lock:
                outcomes[outcome] += 1

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(ask, range(_THREADS)))
    return outcomes, outcomes["answered"] / (time.monotonic() - start_s)


def measure(count: int, seconds: float) -> dict[str, Any]:
    """Measure one agent, then all of them, then all of them while one is killed every second."""
    generator = random.Random(1)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        broker = stack.enter_context(mosquitto_broker(Path(folder)))
        members, sites = make_members(Path(folder), broker, count, stack)
        client = stack.enter_context(PoolClient(_POOL, broker=BrokerAddress(broker.host, broker.port)))
        members.start(0)
        client.submit("digits", _BODY, timeout_s=_PATIENCE_S).result()
        _, alone = load(client, seconds / 3)
        with ExitStack() as listening:
            heard = [listening.enter_context(site.listener(broker)) for site in sites[1:]]
            for number in range(1, count):
                members.start(number)
            for listener, site in zip(heard, sites[1:], strict=True):
                listener.patience_s = _PATIENCE_S
                listener.wait_for(site.topics.model_state("digits"), health="ready")
        _, together = load(client, seconds / 3)
        ended = threading.Event()
        kills = 0

        def kill() -> None:
            nonlocal kills
            while not ended.wait(1.0):
                number = generator.randrange(count)
                members.kill(number)
                kills += 1
                members.start(number)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            outcomes, under_kills = load(client, seconds)
        finally:
            ended.set()
            killer.join()
    asked = sum(outcomes.values())
    return {
        "agents": count,
        "answered_per_s": {
            "one agent": round(alone, 1),
            "all": round(together, 1),
            "with kills": round(under_kills, 1),
        },
        "kills": kills,
        "asked": asked,
        "outcomes": dict(outcomes),
        "unanswered": asked - outcomes["answered"],
    }


def main() -> None:
    """Measure and print the result as JSON."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    print(json.dumps({"machine": read_machine(), "pool": measure(options.agents, options.seconds)}, indent=2))


if __name__ == "__main__":
    main()
