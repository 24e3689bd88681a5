"""Minutes of load with a fault every few seconds: who was not answered, what grew."""

from __future__ import annotations

import queue
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from subprocess import Popen

import psutil

from benchmarks.agent.engine import measure_engine
from benchmarks.agent.work_model import MODEL, make_work_package, work_onnx, work_request
from benchmarks.memory import read_kib
from benchmarks.stage import Stage, serving_agent, set_up
from drupelet_host.demo.broker import free_port
from drupelet_shared.contract.wire import HEADER_LENGTH_PROPERTY
from support.agent.asking import Asker, asker
from support.broker.brokers import LOOPBACK, Broker, mosquitto_broker
from support.broker.proxy import Proxy, proxy

_FAULT_EVERY_S = 10.0
_SETTLED_S = 60.0
# One in so many stays in the report: one a minute.
_SAMPLES_KEPT = 60
_SAMPLES_COMPARED = 30
# Requests that wait while a worker or the broker is away, and how long the last answers may take.
_QUEUE_LENGTH = 2048
_DRAIN_S = 60.0
_BROKER_AWAY_S = 1.0
_PROGRESS_S = 30.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The agent at one moment, parent and workers together."""

    at_s: float
    parent_bytes: int
    total_bytes: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Soak:
    """What a run came to.

    Growth is the mean of the last minute over that of the second. `repeated` counts answers that came more than once,
    as QoS 1 allows when a connection ends before an acknowledgement is through; their correlation tells them.
    """

    minutes: float
    offered_per_s: float
    faults: dict[str, int]
    sent: int
    answers: dict[str, int]
    repeated: int
    unanswered: int
    parent_growth: float
    total_growth: float
    descriptors_first: int
    descriptors_last: int
    samples: list[Sample]


class RestartingBroker:
    """mosquitto that keeps its sessions over a restart."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port
        self._running = ExitStack()
        self.broker = Broker(host=LOOPBACK, port=port, port_311=port, kind="mosquitto")

    def start(self) -> None:
        settings = ["persistence true", f"persistence_location {self._folder}/"]
        self._running.enter_context(
            mosquitto_broker(self._folder, port=self._port, settings=settings, end=signal.SIGTERM)
        )

    def stop(self) -> None:
        self._running.close()

    def restart(self) -> None:
        self.stop()
        time.sleep(_BROKER_AWAY_S)
        self.start()


def measure_soak(folder: Path, *, minutes: float, load: float, say: Callable[[str], None], seed: int = 1) -> Soak:
    """Send at a share of what the engine alone does, and break something every ten seconds."""
    folder.mkdir()
    model = folder / "looped.onnx"
    model.write_bytes(work_onnx())
    rate_per_s = load * measure_engine(model, seconds=3.0)
    with _scene(folder) as (broker, between, stage, process, ask):
        sender = Load(ask, stage.infer_topic, rate_per_s)
        watch = Watch(process.pid)
        faults = _Faults(process.pid, between, broker, random.Random(seed))
        sender.start()
        _drive(60 * minutes, load=sender, watch=watch, faults=faults, say=say)
        sender.finish()
        return Soak(
            minutes=minutes,
            offered_per_s=round(rate_per_s, 2),
            faults=dict(faults.done),
            sent=len(sender.sent),
            answers=dict(sender.codes),
            repeated=sender.repeated,
            unanswered=len(sender.sent - sender.answered),
            parent_growth=watch.growth("parent_bytes"),
            total_growth=watch.growth("total_bytes"),
            descriptors_first=watch.descriptors(watch.samples[:_SAMPLES_COMPARED]),
            descriptors_last=watch.descriptors(watch.samples[-_SAMPLES_COMPARED:]),
            samples=watch.samples[::_SAMPLES_KEPT],
        )


@contextmanager
def _scene(folder: Path) -> Iterator[tuple[RestartingBroker, Proxy, Stage, Popen[bytes], Asker]]:
    broker = RestartingBroker(folder, free_port())
    with ExitStack() as rest:
        broker.start()
        rest.callback(broker.stop)
        between = rest.enter_context(proxy(broker.broker))
        settings = f"limits.queue_length = {_QUEUE_LENGTH}\n        limits.inference_timeout_s = 2.0"
        stage = set_up(folder, between.broker, make_package=make_work_package, model=MODEL, settings=settings)
        process = rest.enter_context(serving_agent(stage))
        ask = rest.enter_context(asker(broker.broker, name="soak", session_expiry_s=3600))
        yield broker, between, stage, process, ask


def _drive(seconds: float, *, load: Load, watch: Watch, faults: _Faults, say: Callable[[str], None]) -> None:
    start_s = time.monotonic()
    next_fault_s, next_word_s = _FAULT_EVERY_S, 0.0
    while (at_s := time.monotonic() - start_s) < seconds:
        watch.look(at_s)
        if at_s >= next_fault_s:
            faults.inflict()
            next_fault_s += _FAULT_EVERY_S
        if at_s >= next_word_s:
            next_word_s += _PROGRESS_S
            last = watch.samples[-1]
            say(
                f"soak: {at_s:.0f} of {seconds:.0f} s, {len(load.sent)} sent, {len(load.answered)} answered, "
                f"{sum(faults.done.values())} faults, parent {last.parent_bytes / 1e6:.1f} MB, "
                f"{last.descriptors} descriptors"
            )
        time.sleep(0.5)


class Load:
    """Sends at a steady rate on a thread of its own and accounts for the answers."""

    def __init__(self, ask: Asker, topic: str, rate_per_s: float) -> None:
        self._ask, self._topic, self._interval_s = ask, topic, 1 / rate_per_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._send, self._receive)]
        self.sent: set[bytes] = set()
        self.answered: set[bytes | None] = set()
        self.codes: Counter[str] = Counter()
        self.repeated = 0

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Send no more, and wait for what is out."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        body = work_request()
        properties = [(HEADER_LENGTH_PROPERTY, str(body.header_length))]
        due_s = time.monotonic()
        while not self._stop.is_set():
            self.sent.add(
                self._ask.send(self._topic, body.payload, content_type=body.content_type, user_properties=properties)
            )
            due_s += self._interval_s
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _receive(self) -> None:
        deadline_s = float("inf")
        while time.monotonic() < deadline_s and not (self._stop.is_set() and self.sent <= self.answered):
            if self._stop.is_set() and deadline_s == float("inf"):
                deadline_s = time.monotonic() + _DRAIN_S
            with suppress(queue.Empty):
                reply = self._ask.next_reply(timeout_s=0.5)
                self.repeated += reply.correlation in self.answered
                self.answered.add(reply.correlation)
                self.codes[reply.user_properties["code"]] += 1


class Watch:
    """Memory and descriptors over time."""

    def __init__(self, pid: int) -> None:
        self._parent = psutil.Process(pid)
        self.samples: list[Sample] = []

    def look(self, at_s: float) -> None:
        """Take one sample, at most one a second."""
        if self.samples and at_s - self.samples[-1].at_s < 1:
            return
        parent_bytes = read_kib(self._parent.pid, "status")["VmRSS"]
        workers_bytes = 0
        for worker in self._parent.children():
            # A worker may end between the two looks.
            with suppress(psutil.NoSuchProcess):
                workers_bytes += worker.memory_info().rss
        self.samples.append(
            Sample(
                at_s=round(at_s, 1),
                parent_bytes=parent_bytes,
                total_bytes=parent_bytes + workers_bytes,
                descriptors=self._parent.num_fds(),
            )
        )

    @staticmethod
    def descriptors(samples: list[Sample]) -> int:
        """Return how many are open for good: a file may be read at the moment of any one sample."""
        return median_low([sample.descriptors for sample in samples])

    def growth(self, name: str) -> float:
        """Return the last minute's mean over the second's, less one; 0 for a run too short to tell."""
        end_s = self.samples[-1].at_s
        early = [getattr(s, name) for s in self.samples if _SETTLED_S <= s.at_s < 2 * _SETTLED_S]
        late = [getattr(s, name) for s in self.samples if s.at_s > max(end_s - _SETTLED_S, 2 * _SETTLED_S)]
        if not early or not late:
            return 0.0
        return round((sum(late) / len(late)) / (sum(early) / len(early)) - 1, 4)


class _Faults:
    """What is broken, each kind as often as the others and in no order."""

    def __init__(self, pid: int, between: Proxy, broker: RestartingBroker, order: random.Random) -> None:
        self._pid, self._order = pid, order
        self._kinds: dict[str, Callable[[], None]] = {
            "worker killed": lambda: self._signal(signal.SIGKILL),
            "worker crashed": lambda: self._signal(signal.SIGSEGV),
            "worker stopped": lambda: self._signal(signal.SIGSTOP),
            "link cut": between.cut,
            "link half closed": between.half_close,
            "broker restarted": broker.restart,
        }
        self._waiting: list[str] = []
        self.done: Counter[str] = Counter()

    def inflict(self) -> None:
        """Break the next thing."""
        if not self._waiting:
            self._waiting = sorted(self._kinds)
            self._order.shuffle(self._waiting)
        kind = self._waiting.pop()
        self._kinds[kind]()
        self.done[kind] += 1

    def _signal(self, number: signal.Signals) -> None:
        for worker in psutil.Process(self._pid).children():
            worker.send_signal(number)
