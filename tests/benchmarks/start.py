"""From the start of the agent's process to the first answer of a model that is already active."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks.child import BenchmarkError
from benchmarks.distribution import Distribution, describe
from benchmarks.requester import Requester
from benchmarks.spine_model import HEAD, encode_values
from benchmarks.stage import Stage, open_stage, serving_agent, start_agent
from drupelet_shared.contract.wire import OK_CODE

_STARTS = 10


def measure_starts(folder: Path) -> Distribution:
    """Seconds to the first answer, over several starts with warm file caches.

    The request waits at the broker, in the session that the agent before left, so the first moment at which the
    agent can answer is seen without polling, and no earlier process can have given the answer.
    """
    with open_stage(folder) as stage, Requester(stage.broker.host, stage.broker.port, name="start") as requester:
        with serving_agent(stage):
            pass
        return describe([_measure_one(stage, requester) for _ in range(_STARTS)])


def _measure_one(stage: Stage, requester: Requester) -> float:
    body = encode_values(np.arange(200, dtype=np.float32), output=HEAD)
    start_s = time.monotonic()
    correlation = requester.send(stage.infer_topic, body)
    with start_agent(stage):
        reply = requester.wait_for(correlation)
    if reply.code != OK_CODE:
        raise BenchmarkError(f"the first answer after a start is {reply.code}: {reply.payload[:200]!r}")
    return reply.received_s - start_s
