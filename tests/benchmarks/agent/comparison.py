"""Round trips through the agent and its peers, the same tensor and the same ONNX file, in turns."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median
from subprocess import PIPE, Popen

import numpy as np

from benchmarks.agent.engine import measure_engine
from benchmarks.agent.http_peers import litserve, mlserver
from benchmarks.child import READY, BenchmarkError, read_line
from benchmarks.distribution import Distribution, describe
from benchmarks.echo import BARE_TOPIC, RELAYED_TOPIC, echo_service
from benchmarks.requester import Requester
from benchmarks.spine_model import HEAD, encode_values
from benchmarks.stage import open_stage, serving_agent
from drupelet_shared.contract.wire import JSON_TYPE, OK_CODE
from drupelet_shared.inference import Encoded
from support.broker.brokers import Broker

_SCRIPT = Path(__file__).resolve().parent / "peers" / "mqtt_script.py"
_SCRIPT_TOPIC = "bench/script/infer"
_WARM_UP = 5
# Values of the tensor: 1x3x224x224, and 1 KB.
LARGE, SMALL = "1x3x224x224", "1 KB"
SIZES = {LARGE: 3 * 224 * 224, SMALL: 256}

OURS = "drupelet, binary"
# Of the very bytes that we are asked.
ECHO, RELAYED = "bare MQTT echo", "echo through a second process"

Ask = Callable[[], float]


@dataclass(frozen=True, slots=True)
class PeerTimes:
    """Round trips of one peer.

    Attributes:
        name: What answered.
        size: The tensor.
        request_bytes: The request's body.
        round_trip_ms: As the requester sees it.
        of_echo_p50: The median without the engine's own time, over the bare echo's median: the median over the blocks.
        of_echo_p99: The same of the 99th percentiles, over all blocks.
        over_engine_p50_ms: The median without the engine's own time.
        over_engine_p99_ms: The 99th percentile without it.
    """

    name: str
    size: str
    request_bytes: int
    round_trip_ms: Distribution
    over_engine_p50_ms: float
    over_engine_p99_ms: float
    of_echo_p50: float
    of_echo_p99: float


def compare(folder: Path, *, blocks: int, requests_a_block: int, with_http: bool = True) -> list[PeerTimes]:
    """Ask everybody the same, a block each in turns; peers over HTTP can be left out."""
    with ExitStack() as rest:
        stage = rest.enter_context(open_stage(folder))
        rest.enter_context(serving_agent(stage))
        model = folder / "model.onnx"
        engine_ms = 1e3 / measure_engine(model, seconds=1.0)
        scripts = {
            name: rest.enter_context(script(stage.broker, model, options))[0] for name, options in _SCRIPTS.items()
        }
        https = []
        if with_http:
            https = [rest.enter_context(start(folder / start.__name__, model)) for start in (mlserver, litserve)]
        # Last, since it is only driven while it asks, and a broker does not wait for ever.
        requester = rest.enter_context(Requester(stage.broker.host, stage.broker.port, name="comparison"))
        like, _ = requester.ask(stage.infer_topic, encode_values(np.zeros(256, np.float32), output=HEAD))
        rest.enter_context(echo_service(stage.broker, like=like))
        found = []
        for size, values in SIZES.items():
            bodies = _bodies(values)
            asks: dict[str, tuple[int, Ask]] = {
                OURS: _over_mqtt(requester, stage.infer_topic, bodies["binary"]),
                "drupelet, JSON": _over_mqtt(requester, stage.infer_topic, bodies["json"]),
                ECHO: _over_mqtt(requester, BARE_TOPIC, bodies["binary"]),
                RELAYED: _over_mqtt(requester, RELAYED_TOPIC, bodies["binary"]),
                **{name: _over_mqtt(requester, topic, bodies["raw"]) for name, topic in scripts.items()},
                **{peer.name: (len(bodies["json"].payload), _http_ask(peer.ask, bodies["json"])) for peer in https},
            }
            found += _take_turns(size, asks, engine_ms, blocks=blocks, requests_a_block=requests_a_block)
    return found


def _bodies(values: int) -> dict[str, Encoded]:
    tensor = np.linspace(0, 1, values, dtype=np.float32)
    entry = {"name": "values", "shape": [1, values], "datatype": "FP32", "data": tensor.tolist()}
    document = {"inputs": [entry], "outputs": [{"name": HEAD}]}
    return {
        "binary": encode_values(tensor, output=HEAD),
        "json": Encoded(payload=json.dumps(document).encode(), content_type=JSON_TYPE, header_length=None),
        "raw": Encoded(payload=tensor.tobytes(), content_type="application/octet-stream", header_length=None),
    }


def _over_mqtt(requester: Requester, topic: str, body: Encoded) -> tuple[int, Ask]:
    def ask() -> float:
        reply, elapsed_ms = requester.ask(topic, body)
        if reply.code not in {None, OK_CODE}:
            raise BenchmarkError(f"{topic}: answered {reply.code}: {reply.payload[:200]!r}")
        return elapsed_ms

    return len(body.payload), ask


def _http_ask(ask: Callable[[bytes], float], body: Encoded) -> Ask:
    return lambda: ask(body.payload)


def _take_turns(
    size: str, asks: dict[str, tuple[int, Ask]], engine_ms: float, *, blocks: int, requests_a_block: int
) -> Iterator[PeerTimes]:
    samples: dict[str, list[list[float]]] = {name: [] for name in asks}
    for _, ask in asks.values():
        for _ in range(_WARM_UP):
            ask()
    for _ in range(blocks):
        for name, (_, ask) in asks.items():
            samples[name].append([ask() for _ in range(requests_a_block)])
    echo_ms = describe(list(chain.from_iterable(samples[ECHO])))
    for name, (request_bytes, _) in asks.items():
        times_ms = describe(list(chain.from_iterable(samples[name])))
        # An echo runs no engine.
        engine = 0.0 if name in {ECHO, RELAYED} else engine_ms
        ratios = [
            (median(block) - engine) / median(echo) for block, echo in zip(samples[name], samples[ECHO], strict=True)
        ]
        yield PeerTimes(
            name=name,
            size=size,
            request_bytes=request_bytes,
            round_trip_ms=times_ms,
            over_engine_p50_ms=round(times_ms.median - engine, 3),
            over_engine_p99_ms=round(times_ms.p99 - engine, 3),
            of_echo_p50=round(median(ratios), 3),
            of_echo_p99=round((times_ms.p99 - engine) / echo_ms.p99, 3),
        )


_SCRIPTS: dict[str, list[str]] = {"script as written": [], "script, TCP_NODELAY": ["no-delay"]}


@contextmanager
def script(broker: Broker, model: Path, options: list[str]) -> Iterator[tuple[str, int]]:
    """Run the script; gives the topic on which it takes raw float32 tensors, and its process id."""
    topic = "/".join([_SCRIPT_TOPIC, *options])
    command = [sys.executable, str(_SCRIPT), broker.host, str(broker.port), str(model), READY, topic, *options]
    with Popen(command, stdout=PIPE, text=True) as process:
        try:
            if read_line(process, timeout_s=30) != READY:
                raise BenchmarkError("the script did not come up")
            yield topic, process.pid
        finally:
            process.kill()
