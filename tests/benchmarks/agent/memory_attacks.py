"""The most memory that the agent's parent process holds while clients or a broker make messages pile up in it.

`python -m benchmarks.agent.memory_attacks` prints one JSON object; `--seconds` is how long each attack lasts.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.memory import read_kib
from benchmarks.spine_model import COPY, MODEL, encode_values, make_spine_package
from benchmarks.stage import Stage, set_up, start_agent
from drupelet_agent.config.loader import load_config
from drupelet_shared.contract.wire import HEADER_LENGTH_PROPERTY
from fakes.scripted_broker import LOOPBACK, PUBLISH, SUBSCRIBE, Peer, puback, publish, scripted_broker, suback, text
from support.agent.agents import listener
from support.agent.asking import asker
from support.broker.brokers import Broker, mosquitto_broker

BASE_BYTES = 60_000_000
_SETTINGS = 'limits.memory = "512MB"'
_SAMPLE_S = 0.05
_READY_S = 60.0
_LARGE_VALUES = 4_000_000
_MOST_LARGE = 64
_VALUES = 150_000


@dataclass(frozen=True, slots=True)
class Peak:
    """One attack.

    Attributes:
        ready_bytes: VmRSS of the parent before it.
        peak_bytes: The most that was ever resident (VmHWM).
        budget_bytes: The memory for messages that is configured.
        requests: How many requests were sent.
        is_alive: Whether the agent still ran at the end.
    """

    ready_bytes: int
    peak_bytes: int
    budget_bytes: int
    requests: int
    is_alive: bool

    @property
    def is_bounded(self) -> bool:
        """Whether the parent held no more than it may."""
        return self.is_alive and self.peak_bytes <= BASE_BYTES + self.budget_bytes


def flood_with_large_requests(folder: Path, *, seconds: float) -> Peak:
    """Send requests of 16 MB from one client, as fast as mosquitto takes them, and do not wait for replies."""
    folder.mkdir()
    with ExitStack() as stack:
        # The broker's own queue is not what is measured.
        broker = stack.enter_context(mosquitto_broker(folder, settings=["max_queued_bytes 2000000000"]))
        stage = set_up(folder, broker, make_package=make_spine_package, model=MODEL, settings=_SETTINGS)
        process = stack.enter_context(start_agent(stage))
        heard = stack.enter_context(listener(broker, device=stage.topics.device))
        heard.wait_for(stage.topics.model_state(MODEL), health="ready")
        ask = stack.enter_context(asker(broker, name="flood"))
        ready_bytes = _resident_bytes(process.pid)
        body = encode_values(np.zeros(_LARGE_VALUES, dtype=np.float32), output=COPY)
        headers = [(HEADER_LENGTH_PROPERTY, str(body.header_length))]
        deadline_s, sent = time.monotonic() + seconds, 0
        while time.monotonic() < deadline_s and sent < _MOST_LARGE:
            ask.send(stage.infer_topic, body.payload, content_type=body.content_type, user_properties=headers)
            sent += 1
        while time.monotonic() < deadline_s:
            time.sleep(_SAMPLE_S)
        return _peak(stage, process.pid, ready_bytes, sent, is_alive=process.poll() is None)


def stop_reading(folder: Path, *, seconds: float) -> Peak:
    """Send requests whose replies the broker does not read."""
    return _attack(folder, _StopsReading, seconds=seconds)


def never_acknowledge(folder: Path, *, seconds: float) -> Peak:
    """Send requests whose replies the broker reads and does not acknowledge."""
    return _attack(folder, _NeverAcknowledges, seconds=seconds)


ATTACKS: dict[str, Callable[..., Peak]] = {
    "large requests from one client": flood_with_large_requests,
    "a broker that stops reading": stop_reading,
    "a broker that never acknowledges": never_acknowledge,
}


class _Attacker:
    """A broker that serves its client until it attacks: it then sends a request of 600 KB after the other."""

    reads = True

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._packets = itertools.cycle(range(1, 65_536))
        self._deadline_s = float("inf")
        self._attacks = threading.Event()
        self._is_subscribed = asyncio.Event()
        self.sent = 0
        body = encode_values(np.zeros(_VALUES, dtype=np.float32), output=COPY)
        assert body.header_length is not None
        pair = b"\x26" + text(HEADER_LENGTH_PROPERTY) + text(str(body.header_length))
        self._properties = b"\x08" + text("clients/me") + b"\x03" + text(body.content_type) + pair
        self._payload = body.payload

    def start(self, *, seconds: float) -> None:
        """Attack from now on."""
        self._deadline_s = time.monotonic() + seconds
        self._attacks.set()

    async def serve(self, peer: Peer) -> None:
        """Follow the script of one connection."""
        await peer.accept()
        reading = asyncio.create_task(self._read(peer))
        try:
            await self._is_subscribed.wait()
            await asyncio.to_thread(self._attacks.wait)
            if not self.reads:
                reading.cancel()
            while time.monotonic() < self._deadline_s:
                await peer.send(self._request())
                self.sent += 1
                await asyncio.sleep(0)
            await asyncio.sleep(3600)
        finally:
            reading.cancel()

    async def _read(self, peer: Peer) -> None:
        while True:
            packet = await peer.receive()
            if packet.kind == SUBSCRIBE:
                await peer.send(suback(packet.packet_id, bytes([1] * len(packet.filters))))
                self._is_subscribed.set()
            elif packet.kind == PUBLISH and packet.qos and not self._attacks.is_set():
                await peer.send(puback(packet.packet_id))

    def _request(self) -> bytes:
        # Every other one has QoS 0: its reply is not counted by what the broker has to acknowledge.
        packet_id = next(self._packets) if self.sent % 2 else 0
        token = struct.pack("!HI", 4, self.sent)
        return publish(self._topic, self._payload, packet_id=packet_id, properties=self._properties + b"\x09" + token)


class _StopsReading(_Attacker):
    reads = False


class _NeverAcknowledges(_Attacker):
    reads = True


def _attack(folder: Path, kind: type[_Attacker], *, seconds: float) -> Peak:
    folder.mkdir()
    with ExitStack() as stack:
        attackers: list[_Attacker] = []

        async def serve(peer: Peer) -> None:
            await attackers[0].serve(peer)

        broker = stack.enter_context(scripted_broker(serve))
        address = Broker(host=LOOPBACK, port=broker.port, port_311=broker.port, kind="mosquitto")
        stage = set_up(folder, address, make_package=make_spine_package, model=MODEL, settings=_SETTINGS)
        attackers.append(kind(stage.infer_topic))
        process = stack.enter_context(start_agent(stage))
        _wait_until_ready(stage)
        ready_bytes = _resident_bytes(process.pid)
        attackers[0].start(seconds=seconds)
        time.sleep(seconds)
        return _peak(stage, process.pid, ready_bytes, attackers[0].sent, is_alive=process.poll() is None)


def _wait_until_ready(stage: Stage) -> None:
    log = stage.config.with_name("agent.log")
    deadline_s = time.monotonic() + _READY_S
    while "health=ready" not in log.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline_s, "the model is not ready"
        time.sleep(_SAMPLE_S)


def _resident_bytes(pid: int) -> int:
    return read_kib(pid, "status")["VmRSS"]


def _peak(stage: Stage, pid: int, ready_bytes: int, requests: int, *, is_alive: bool) -> Peak:
    return Peak(
        ready_bytes=ready_bytes,
        peak_bytes=read_kib(pid, "status")["VmHWM"] if is_alive else 0,
        budget_bytes=load_config(stage.config).limits.messages_bytes,
        requests=requests,
        is_alive=is_alive,
    )


def measure(folder: Path, *, seconds: float) -> Iterator[tuple[str, Peak]]:
    """Run each attack for so many seconds."""
    for number, (name, attack) in enumerate(ATTACKS.items()):
        yield name, attack(folder / str(number), seconds=seconds)


def main() -> int:
    """Print the peaks; 1 if one is above 60 MB and the budget."""
    parser = argparse.ArgumentParser(prog="memory_attacks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each attack lasts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memory-attacks-") as folder:
        peaks = dict(measure(Path(folder), seconds=options.seconds))
    print(json.dumps({name: asdict(peak) for name, peak in peaks.items()}, indent=2))
    return 0 if all(peak.is_bounded for peak in peaks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
