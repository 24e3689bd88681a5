"""Many clients at once: every request is answered exactly once, or refused with a code."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

from benchmarks.child import child, read_line
from benchmarks.distribution import Distribution, describe
from benchmarks.stage import Stage, open_stage, serving_agent

_CLIENTS = 8
_REQUESTS_A_CLIENT = 125
_IN_FLIGHT = 8
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class ManyClients:
    """What became of the requests; `mistaken` answers hold another request's values."""

    clients: int
    in_flight_a_client: int
    sent: int
    answered: int
    refused: dict[str, int]
    missing: int
    repeated: int
    mistaken: int
    requests_per_s: float
    latency_ms: Distribution


def measure_many_clients(folder: Path) -> ManyClients:
    """Let client processes of their own send their requests at the same moment."""
    with open_stage(folder) as stage, serving_agent(stage), ExitStack() as stack:
        clients = [stack.enter_context(child("benchmarks.burst", _spec(stage, number))) for number in range(_CLIENTS)]
        for client in clients:
            _go(client)
        reports = [json.loads(read_line(client, timeout_s=2 * _TIMEOUT_S)) for client in clients]
    return _sum(reports)


def _spec(stage: Stage, number: int) -> dict[str, object]:
    return {
        "host": stage.broker.host,
        "port": stage.broker.port,
        "topic": stage.infer_topic,
        "number": number,
        "requests": _REQUESTS_A_CLIENT,
        "in_flight": _IN_FLIGHT,
        "timeout_s": _TIMEOUT_S,
    }


def _go(client: Popen[str]) -> None:
    assert client.stdin is not None
    client.stdin.write("go\n")
    client.stdin.flush()


def _sum(reports: list[dict[str, Any]]) -> ManyClients:
    latencies_ms = [latency for report in reports for latency in report["latencies_ms"]]
    elapsed_s = max(report["last_s"] for report in reports) - min(report["first_s"] for report in reports)
    refused: Counter[str] = Counter()
    for report in reports:
        refused.update(report["refused"])
    totals = {key: sum(report[key] for report in reports) for key in ("answered", "missing", "repeated", "mistaken")}
    return ManyClients(
        clients=len(reports),
        in_flight_a_client=_IN_FLIGHT,
        sent=len(reports) * _REQUESTS_A_CLIENT,
        refused=dict(refused),
        requests_per_s=round(len(latencies_ms) / elapsed_s, 1),
        latency_ms=describe(latencies_ms),
        **totals,
    )
