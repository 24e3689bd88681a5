"""Requests a second through MQTT against the same engine looped in a process of its own, in turns."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.agent.engine import measure_engine
from benchmarks.agent.work_model import MODEL, make_work_package, work_onnx, work_request
from benchmarks.child import BenchmarkError
from benchmarks.requester import Requester
from benchmarks.stage import Stage, open_stage, serving_agent
from drupelet_shared.contract.wire import OK_CODE

_IN_FLIGHT = 4
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Throughput:
    """Inferences a second, the median over the turns; `share` is the median of each turn's own ratio."""

    inference_ms: float
    engine_per_s: float
    agent_per_s: float
    share: float
    shares: tuple[float, ...]


def measure_throughput(folder: Path, *, turns: int, seconds: float) -> Throughput:
    """One thread each, every core open to both; the broker, the requester and the agent's parent have to share them."""
    engine, agent = [], []
    with (
        open_stage(folder, make_package=make_work_package, model=MODEL) as stage,
        serving_agent(stage),
        Requester(stage.broker.host, stage.broker.port, name="throughput") as requester,
    ):
        model = folder / "looped.onnx"
        model.write_bytes(work_onnx())
        _ask_for(stage, requester, seconds=1.0)
        for _ in range(turns):
            engine.append(measure_engine(model, seconds=seconds))
            agent.append(_ask_for(stage, requester, seconds=seconds))
    shares = [ours / alone for ours, alone in zip(agent, engine, strict=True)]
    return Throughput(
        inference_ms=round(1e3 / median(engine), 3),
        engine_per_s=round(median(engine), 2),
        agent_per_s=round(median(agent), 2),
        share=round(median(shares), 4),
        shares=tuple(round(share, 4) for share in shares),
    )


def _ask_for(stage: Stage, requester: Requester, *, seconds: float) -> float:
    """Answers a second with a few requests always out, from the first answer to the last within the time."""
    body, out, times_s = work_request(), set[bytes](), list[float]()
    stop_s = time.monotonic() + seconds
    while time.monotonic() < stop_s:
        while len(out) < _IN_FLIGHT:
            out.add(requester.send(stage.infer_topic, body))
        requester.run_until(lambda: not out.isdisjoint(requester.replies), what="get on", timeout_s=_TIMEOUT_S)
        times_s += _take(requester, out)
    requester.run_until(lambda: out <= requester.replies.keys(), what="finish", timeout_s=_TIMEOUT_S)
    _take(requester, out)
    return (len(times_s) - 1) / (times_s[-1] - times_s[0])


def _take(requester: Requester, out: set[bytes]) -> list[float]:
    times_s = []
    for correlation in out & requester.replies.keys():
        (reply,) = requester.replies.pop(correlation)
        if reply.code != OK_CODE:
            raise BenchmarkError(f"a request was answered {reply.code}: {reply.payload[:200]!r}")
        times_s.append(reply.received_s)
        out.discard(correlation)
    return sorted(times_s)
