"""Request to reply through the agent, against a bare echo through the same broker, in alternating blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.child import BenchmarkError
from benchmarks.distribution import Distribution, describe
from benchmarks.echo import ALIKE_TOPIC, BARE_TOPIC, echo_service
from benchmarks.requester import Requester
from benchmarks.spine_model import COPY, HEAD, MODEL, encode_values
from benchmarks.stage import Stage, open_stage, serving_agent
from benchmarks.stage_times import StageTimes
from drupelet_shared.contract.wire import OK_CODE
from drupelet_shared.inference import Encoded

_WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request, asked of each in turn in blocks."""

    values: int
    output: str
    blocks: int
    requests_a_block: int


CASES = (
    Case(values=200, output=HEAD, blocks=20, requests_a_block=100),
    Case(values=200, output=COPY, blocks=20, requests_a_block=100),
    Case(values=150_000, output=HEAD, blocks=20, requests_a_block=25),
    Case(values=150_000, output=COPY, blocks=20, requests_a_block=25),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The agent over an echo, the engine's median inference time taken off the agent's."""

    echo_reply_bytes: int
    echo_ms: Distribution
    ratio_of_medians: float
    ratio_of_p99s: float
    ratio_of_block_medians: Distribution


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One case, measured.

    Attributes:
        inference_ms: The engine's median, from the agent's telemetry.
        agent_stage_medians_ms: From the same telemetry; `total` ends where the reply is handed to the MQTT client.
        bare: Over an echo that publishes the request's bytes back and nothing else.
        alike: Over an echo whose replies have the length and the properties of the agent's.
    """

    request_bytes: int
    reply_bytes: int
    agent_ms: Distribution
    inference_ms: float
    agent_stage_medians_ms: dict[str, float]
    bare: Comparison
    alike: Comparison


@dataclass(slots=True)
class _Samples:
    reply_bytes: int
    blocks: list[list[float]]

    @property
    def all(self) -> list[float]:
        return [sample for block in self.blocks for sample in block]


def measure_round_trips(folder: Path) -> list[RoundTrip]:
    """Measure every case with one agent, one echo and one requester."""
    with (
        open_stage(folder) as stage,
        serving_agent(stage),
        Requester(stage.broker.host, stage.broker.port, name="round-trip") as requester,
    ):
        times = StageTimes(requester, stage, model=MODEL)
        return [_measure(case, requester, stage, times) for case in CASES]


def _measure(case: Case, requester: Requester, stage: Stage, times: StageTimes) -> RoundTrip:
    body = encode_values(np.arange(case.values, dtype=np.float32), output=case.output)
    reply, _ = requester.ask(stage.infer_topic, body)
    with echo_service(stage.broker, like=reply):
        times.restart()
        agent, bare, alike = _alternate(case, requester, (stage.infer_topic, BARE_TOPIC, ALIKE_TOPIC), body)
        medians_ms = times.medians_ms()
    inference_ms = medians_ms["inference"]
    return RoundTrip(
        request_bytes=len(body.payload),
        reply_bytes=agent.reply_bytes,
        agent_ms=describe(agent.all),
        inference_ms=inference_ms,
        agent_stage_medians_ms=medians_ms,
        bare=_compare(agent, bare, inference_ms=inference_ms),
        alike=_compare(agent, alike, inference_ms=inference_ms),
    )


def _alternate(case: Case, requester: Requester, topics: Sequence[str], body: Encoded) -> list[_Samples]:
    samples = [
        _Samples(reply_bytes=_ask_many(requester, topic, body, count=_WARM_UP)[0], blocks=[]) for topic in topics
    ]
    for _ in range(case.blocks):
        for topic, taken in zip(topics, samples, strict=True):
            taken.blocks.append(_ask_many(requester, topic, body, count=case.requests_a_block)[1])
    return samples


def _ask_many(requester: Requester, topic: str, body: Encoded, *, count: int) -> tuple[int, list[float]]:
    reply_bytes, elapsed_ms = 0, []
    for _ in range(count):
        reply, milliseconds = requester.ask(topic, body)
        if reply.code not in {None, OK_CODE}:
            raise BenchmarkError(f"{topic}: answered {reply.code}: {reply.payload[:200]!r}")
        reply_bytes = len(reply.payload)
        elapsed_ms.append(milliseconds)
    return reply_bytes, elapsed_ms


def _compare(agent: _Samples, echo: _Samples, *, inference_ms: float) -> Comparison:
    ours, theirs = describe(agent.all), describe(echo.all)
    pairs = zip(agent.blocks, echo.blocks, strict=True)
    return Comparison(
        echo_reply_bytes=echo.reply_bytes,
        echo_ms=theirs,
        ratio_of_medians=round((ours.median - inference_ms) / theirs.median, 3),
        # The median inference time comes off the p99 too: less than that p99's own, so never in the agent's favour.
        ratio_of_p99s=round((ours.p99 - inference_ms) / theirs.p99, 3),
        ratio_of_block_medians=describe([(median(a) - inference_ms) / median(b) for a, b in pairs]),
    )
