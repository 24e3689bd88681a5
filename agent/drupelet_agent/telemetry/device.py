"""The device's own numbers as one message."""

from __future__ import annotations

from collections.abc import Sequence

from drupelet_agent.resources import probe
from drupelet_shared.messages import DeviceTelemetry


def read_device(device: str, worker_pids: Sequence[int]) -> DeviceTelemetry:
    """Read the device now.

    Args:
        device: The device's name.
        worker_pids: The processes whose memory counts as the workers'.
    """
    snapshot = probe.take_snapshot()
    return DeviceTelemetry(
        device=device,
        uptime_s=round(probe.uptime_s(), 1),
        cpu_percent=probe.cpu_percent(),
        memory_total_bytes=snapshot.memory_total_bytes,
        memory_available_bytes=snapshot.memory_available_bytes,
        agent_memory_bytes=probe.resident_bytes(),
        workers_memory_bytes=sum(probe.resident_bytes(pid) for pid in worker_pids),
        temperature_celsius=snapshot.temperature_celsius,
        throttled=snapshot.throttled,
    )
