"""The numbers of the device as one message."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from drupelet_agent.device import probe
from drupelet_agent.device.board import read_board
from drupelet_shared.contract.messages import DeviceTelemetry, WorkerMemory


def read_device(
    device: str, *, workers: Mapping[int, str | None], state_dir: Path, dropped_messages: int
) -> DeviceTelemetry:
    """Read the device now.

    Args:
        device: The device's name.
        workers: The model of each worker process, by process id; None while its release starts or stops.
        state_dir: The folder whose file system's free space is reported.
        dropped_messages: Messages that the outbox has dropped since the start.

    Returns:
        The telemetry.
    """
    snapshot = probe.take_snapshot()
    board = read_board()
    memory = tuple(
        WorkerMemory(pid=pid, model=model, resident_bytes=probe.resident_bytes(pid)) for pid, model in workers.items()
    )
    return DeviceTelemetry(
        device=device,
        uptime_s=round(probe.uptime_s(), 1),
        cpu_percent=probe.cpu_percent(),
        memory_total_bytes=snapshot.memory_total_bytes,
        memory_available_bytes=snapshot.memory_available_bytes,
        agent_memory_bytes=probe.resident_bytes(),
        workers_memory_bytes=sum(worker.resident_bytes for worker in memory),
        workers=memory,
        temperature_celsius=snapshot.temperature_celsius,
        throttled=snapshot.throttled,
        throttling=board.throttling,
        clock_mhz=board.clock_mhz,
        disk_free_bytes=_free_bytes(state_dir),
        dropped_messages=dropped_messages,
    )


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
