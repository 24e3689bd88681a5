"""`drupelet watch` as a process, over a real broker."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager

from support.agent.fleets import Announced, announcing, birth, model_window
from support.broker.brokers import Broker


def windows(broker: Broker) -> AbstractContextManager[None]:
    """Two devices that tell of two models until the context ends."""
    devices, numbers = ("pi-a", "pi-b"), itertools.count(1)

    def tell() -> Iterator[Announced]:
        p50_ms = float(1 + next(numbers) % 8)
        for device in devices:
            yield model_window(device, p50_ms=p50_ms, ok=30, overloaded=10)
            yield model_window(device, "x")

    return announcing(broker, [birth(device) for device in devices], tell=tell, every_s=0.1)


def watch(broker: Broker, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "drupelet_host", "watch", "digits", "--broker", broker.url, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def test_a_line_tells_of_each_window_of_the_model_on_every_device(embedded: Broker) -> None:
    with windows(embedded):
        result = watch(embedded, "--count", "8")
    lines = result.stdout.splitlines()
    assert len(lines) == 8
    assert {line.split()[1] for line in lines} == {"pi-a", "pi-b"}
    assert all("digits 1.2.0" in line and "4.0 req/s" in line and "errors   25 %" in line for line in lines)
    assert len(lines[-1].split()[-1]) > 1, "the latest line has a bar for each window so far"


def test_one_device_is_chosen_and_json_is_the_message_as_it_came(embedded: Broker) -> None:
    with windows(embedded):
        result = watch(embedded, "--count", "3", "--device", "pi-b", "--json")
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert [document["device"] for document in documents] == ["pi-b"] * 3
    assert documents[0]["outcomes"] == {"ok": 30, "overloaded": 10}
    assert documents[0]["total"].keys() >= {"p50_ms", "p90_ms", "p99_ms", "max_ms"}
    assert [document["at"] for document in documents] == sorted(document["at"] for document in documents)
