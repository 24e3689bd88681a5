"""The resident memory of the agent's parent process after it has served, from /proc."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.child import BenchmarkError
from benchmarks.requester import Requester
from benchmarks.spine_model import HEAD, encode_values
from benchmarks.stage import open_stage, serving_agent
from drupelet_shared.contract.wire import OK_CODE

# The environments measured: this one, and one with the agent's dependencies alone.
DEVELOPMENT = "development"
AGENT_ALONE = "agent"
# FP32 values of a request, and how many such requests: about 1 KB and about 600 KB.
_LOADS = ((200, 500), (150_000, 50))


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one process.

    Attributes:
        environment: Which dependencies are installed beside the agent.
        ready_bytes: VmRSS before the first request.
        resident_bytes: VmRSS.
        anonymous_bytes: Of it, the process's own.
        file_bytes: Of it, pages of mapped files, which processes share and the kernel can drop.
        shared_bytes: Of it, pages that another process maps at this moment.
        proportional_bytes: Each page divided by the processes that map it.
        peak_bytes: The most that was ever resident.
    """

    environment: str
    ready_bytes: int
    resident_bytes: int
    anonymous_bytes: int
    file_bytes: int
    shared_bytes: int
    proportional_bytes: int
    peak_bytes: int


def measure_memory(folder: Path, *, environment: str, python: Path | None = None) -> Memory:
    """Serve a few hundred requests and read the parent's memory.

    Args:
        folder: For broker and agent.
        environment: What the result is called.
        python: The interpreter the agent runs with; this one's by default.
    """
    with open_stage(folder) as stage, serving_agent(stage, python=python) as process:
        ready_bytes = read_kib(process.pid, "status")["VmRSS"]
        with Requester(stage.broker.host, stage.broker.port, name="memory") as requester:
            for values, count in _LOADS:
                body = encode_values(np.arange(values, dtype=np.float32), output=HEAD)
                for _ in range(count):
                    reply, _ = requester.ask(stage.infer_topic, body)
                    if reply.code != OK_CODE:
                        raise BenchmarkError(f"{environment}: answered {reply.code}: {reply.payload[:200]!r}")
        status, rollup = read_kib(process.pid, "status"), read_kib(process.pid, "smaps_rollup")
    return Memory(
        environment=environment,
        ready_bytes=ready_bytes,
        resident_bytes=status["VmRSS"],
        anonymous_bytes=status["RssAnon"],
        file_bytes=status["RssFile"],
        shared_bytes=rollup["Shared_Clean"] + rollup["Shared_Dirty"],
        proportional_bytes=rollup["Pss"],
        peak_bytes=status["VmHWM"],
    )


def read_kib(pid: int, file: str) -> dict[str, int]:
    """Return the lines of a /proc file that give sizes, in bytes."""
    sizes = {}
    for line in Path(f"/proc/{pid}/{file}").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            sizes[name] = int(value.split()[0]) * 1024
    return sizes
