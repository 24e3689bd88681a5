"""Minutes of load while an attacker does everything that once took a device off the air, at random.

`python -m benchmarks.agent.attacking_soak` prints one JSON object; `--minutes` is how long it lasts.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.agent.memory_attacks import BASE_BYTES
from benchmarks.agent.soak import Load, RestartingBroker
from benchmarks.agent.work_model import MODEL, make_work_package
from benchmarks.memory import read_kib
from benchmarks.stage import Stage, serving_agent, set_up
from drupelet_agent.config.loader import load_config
from drupelet_host.demo.broker import free_port
from fakes.scripted_broker import publish, text
from support.agent.asking import Asker, asker
from support.broker.brokers import Broker
from support.broker.proxy import Proxy, proxy
from support.broker.raw_client import send_raw
from support.broker.subscriber import subscriber

_FAULT_EVERY_S = 5.0
_RATE_PER_S = 20.0
_BACK_S = 60.0
_PROBE_S = 0.2
_STALL_S = 2.0
_TAKEOVERS = 3
_LARGE_BYTES = 16_000_000
_LARGE_REQUESTS = 20
_LARGE_PROPERTIES = 300
_FLOOD = 300
_OTHER = "other"
_HOSTILE_TOPICS = (
    "a/" * 250 + "b",
    "x" * 60_000,
    f"drupelet/v1/{_OTHER}/command/list",
    f"drupelet/v1/{_OTHER}/infer/{MODEL}",
    f"drupelet/v1/{_OTHER}/models/{MODEL}/desired",
    f"drupelet/v1/pool/{_OTHER}/infer/{MODEL}",
    "homeassistant/status",
    "$SYS/broker/uptime",
    "$CONTROL/dynamic-security/v1",
)


@dataclass(frozen=True, slots=True)
class AttackingSoak:
    """What a run came to.

    Attributes:
        minutes: How long it lasted.
        faults: How often each kind of fault was inflicted.
        sent: Requests without an expiry.
        answers: Replies by code.
        repeated: Replies that came more than once, as QoS 1 allows when a connection ends.
        unanswered: Requests without a reply.
        reflected: Messages that reached topics of other devices, pools or Home Assistant.
        parent_peak_bytes: The most that was ever resident of the parent (VmHWM).
        parent_limit_bytes: 60 MB and the memory for messages.
        back_s: Seconds from the last fault to the next answer.
    """

    minutes: float
    faults: dict[str, int]
    sent: int
    answers: dict[str, int]
    repeated: int
    unanswered: int
    reflected: int
    parent_peak_bytes: int
    parent_limit_bytes: int
    back_s: float


class Attacker:
    """Inflicts faults, each kind as often as the others and in random order."""

    def __init__(self, stage: Stage, pid: int, between: Proxy, broker: RestartingBroker, order: random.Random) -> None:
        self._stage = stage
        self._pid = pid
        self._between = between
        self._broker = broker
        self._order = order
        self._waiting: list[str] = []
        self._kinds: dict[str, Callable[[], None]] = {
            "hostile response topics": self._hostile_topics,
            "response topic that is no UTF-8": self._invalid_utf8,
            "megabytes of properties": self._many_properties,
            "large properties": self._large_properties,
            "large requests": self._large_requests,
            "flood of small requests": self._flood,
            "client id taken": self._take_client_id,
            "broker stops reading": self._stall,
            "link cut": between.cut,
            "link cut in a packet": lambda: between.cut_after(301),
            "link half closed": between.half_close,
            "broker restarted": broker.restart,
            "worker killed": lambda: self._signal(signal.SIGKILL),
            "worker stopped": lambda: self._signal(signal.SIGSTOP),
        }
        self.done: Counter[str] = Counter()

    def inflict(self) -> str:
        """Inflict the next fault, and return its kind."""
        if not self._waiting:
            self._waiting = sorted(self._kinds)
            self._order.shuffle(self._waiting)
        kind = self._waiting.pop()
        # The broker may be away, and disconnects an attacking client.
        with suppress(OSError):
            self._kinds[kind]()
        self.done[kind] += 1
        return kind

    @property
    def _address(self) -> Broker:
        return self._broker.broker

    def _hostile_topics(self) -> None:
        for topic in _HOSTILE_TOPICS:
            properties = b"\x08" + text(topic)
            send_raw(self._address, publish(self._stage.infer_topic, b"{}", packet_id=1, properties=properties))

    def _invalid_utf8(self) -> None:
        topic = b"\xff" * 21_846
        properties = b"\x08" + len(topic).to_bytes(2, "big") + topic
        send_raw(self._address, publish(self._stage.infer_topic, b"{}", packet_id=1, properties=properties))

    def _many_properties(self) -> None:
        properties = b"\x26\0\0\0\0" * (_LARGE_BYTES // 5)
        send_raw(self._address, publish(self._stage.infer_topic, b"{}", packet_id=1, properties=properties))

    def _large_properties(self) -> None:
        requests = [
            publish(self._stage.infer_topic, b"{}", packet_id=number, properties=_large_properties(number))
            for number in range(1, _LARGE_PROPERTIES)
        ]
        send_raw(self._address, b"".join(requests))

    def _large_requests(self) -> None:
        with asker(self._address, name="large") as ask:
            for _ in range(_LARGE_REQUESTS):
                ask.send(self._stage.infer_topic, bytes(_LARGE_BYTES))

    def _flood(self) -> None:
        with asker(self._address, name="flood") as ask:
            for number in range(_FLOOD):
                ask.send(self._stage.infer_topic, b"{}", qos=number % 2)

    def _take_client_id(self) -> None:
        for _ in range(_TAKEOVERS):
            send_raw(self._address, b"", client_id=f"drupelet-{self._stage.topics.device}")

    def _stall(self) -> None:
        self._between.hold()
        time.sleep(_STALL_S)
        self._between.release()

    def _signal(self, number: signal.Signals) -> None:
        for worker in psutil.Process(self._pid).children():
            worker.send_signal(number)


def measure_attacking_soak(
    folder: Path, *, minutes: float, report: Callable[[str], None], seed: int = 1
) -> AttackingSoak:
    """Send requests steadily, and inflict a fault every five seconds.

    Args:
        folder: For everything; it is created.
        minutes: How long the load lasts.
        report: Receives lines on the progress.
        seed: Of the order of the faults.
    """
    folder.mkdir()
    reflected: queue.Queue[object] = queue.Queue()
    with _scene(folder) as (broker, between, stage, pid, ask), _reflections(broker.broker, reflected):
        load = Load(ask, stage.infer_topic, _RATE_PER_S)
        attacker = Attacker(stage, pid, between, broker, random.Random(seed))
        load.start()
        _drive(60 * minutes, attacker, load, report)
        back_s = _wait_until_back(load)
        load.finish()
        return AttackingSoak(
            minutes=minutes,
            faults=dict(attacker.done),
            sent=len(load.sent),
            answers=dict(load.codes),
            repeated=load.repeated,
            unanswered=len(load.sent - load.answered),
            reflected=reflected.qsize(),
            parent_peak_bytes=read_kib(pid, "status")["VmHWM"],
            parent_limit_bytes=BASE_BYTES + load_config(stage.config).limits.messages_bytes,
            back_s=round(back_s, 2),
        )


def _large_properties(number: int) -> bytes:
    """Encode a Response Topic and Correlation Data that are each nearly as long as MQTT allows."""
    token = number.to_bytes(4, "big") * 16_000
    return b"\x08" + text("x" * 60_000) + b"\x09" + len(token).to_bytes(2, "big") + token


@contextmanager
def _scene(folder: Path) -> Iterator[tuple[RestartingBroker, Proxy, Stage, int, Asker]]:
    broker = RestartingBroker(folder, free_port())
    with ExitStack() as stack:
        broker.start()
        stack.callback(broker.stop)
        between = stack.enter_context(proxy(broker.broker))
        settings = 'limits.memory = "512MB"\n        limits.inference_timeout_s = 2.0'
        stage = set_up(folder, between.broker, make_package=make_work_package, model=MODEL, settings=settings)
        process = stack.enter_context(serving_agent(stage))
        ask = stack.enter_context(asker(broker.broker, name="soak", session_expiry_s=3600))
        yield broker, between, stage, process.pid, ask


@contextmanager
def _reflections(broker: Broker, reflected: queue.Queue[object]) -> Iterator[None]:
    """Count what arrives where no reply may go."""
    with ExitStack() as stack:
        for topic in (f"drupelet/v1/{_OTHER}/#", "drupelet/v1/pool/#", "homeassistant/#"):
            stack.enter_context(subscriber(broker, topic, reflected.put))
        yield


def _drive(seconds: float, attacker: Attacker, load: Load, report: Callable[[str], None]) -> None:
    start_s = time.monotonic()
    due_s = _FAULT_EVERY_S
    while (at_s := time.monotonic() - start_s) < seconds:
        if at_s >= due_s:
            due_s += _FAULT_EVERY_S
            kind = attacker.inflict()
            report(f"{at_s:.0f} of {seconds:.0f} s: {kind}; {len(load.sent)} sent, {len(load.answered)} answered")
        time.sleep(_PROBE_S)


def _wait_until_back(load: Load) -> float:
    """Wait until a request that is sent from now on is answered, and return how long that took."""
    start_s = time.monotonic()
    before = set(load.sent)
    while time.monotonic() - start_s < _BACK_S:
        if (load.sent & load.answered) - before:
            break
        time.sleep(0.02)
    return time.monotonic() - start_s


def main() -> int:
    """Print the numbers; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="attacking_soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long it lasts")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the faults")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attacking-soak-") as folder:
        soak = measure_attacking_soak(
            Path(folder) / "soak",
            minutes=options.minutes,
            report=lambda line: print(line, file=sys.stderr, flush=True),
            seed=options.seed,
        )
    print(json.dumps(asdict(soak), indent=2))
    kept = not soak.unanswered and not soak.reflected and soak.parent_peak_bytes <= soak.parent_limit_bytes
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
