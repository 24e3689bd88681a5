"""From the kill of a worker to the next answer of its model."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.child import BenchmarkError
from benchmarks.distribution import Distribution, describe
from benchmarks.requester import Requester
from benchmarks.spine_model import HEAD, encode_values
from benchmarks.stage import open_stage, serving_agent
from drupelet_shared.contract.wire import OK_CODE
from drupelet_shared.inference import Encoded

# Each is as the first one was: a death is forgotten with the next reply.
_REST_S = 0.5


def measure_recoveries(folder: Path, *, kills: int) -> Distribution:
    """Seconds from SIGKILL to an answer, the request sent right after the signal."""
    with (
        open_stage(folder) as stage,
        serving_agent(stage) as process,
        Requester(stage.broker.host, stage.broker.port, name="recovery") as requester,
    ):
        body = encode_values(np.arange(200, dtype=np.float32), output=HEAD)
        taken_s = []
        for _ in range(kills):
            requester.ask(stage.infer_topic, body)
            time.sleep(_REST_S)
            (worker,) = psutil.Process(process.pid).children()
            worker.kill()
            start_s = time.monotonic()
            taken_s.append(_first_answer_s(requester, stage.infer_topic, body) - start_s)
        return describe(taken_s)


def _first_answer_s(requester: Requester, topic: str, body: Encoded) -> float:
    """When the model answers again; a request that reaches the dead worker is answered with its failure."""
    for _ in range(100):
        reply, _ = requester.ask(topic, body)
        if reply.code == OK_CODE:
            return reply.received_s
    raise BenchmarkError("a killed worker does not come back")
