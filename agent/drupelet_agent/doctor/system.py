"""Examines the device: processor, memory, power, temperature, swap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.device.board import Board, read_board
from drupelet_agent.device.probe import take_snapshot
from drupelet_agent.doctor.findings import Finding
from drupelet_agent.planning.budget import memory_budget
from drupelet_shared.units import format_bytes

_HOT_CELSIUS = 75.0
_SMALLEST_WORKER_BYTES = 100 * 10**6
_MUCH_SWAP_BYTES = 100 * 2**20
_OCCURRED = "_occurred"


def examine_system(config: AgentConfig, *, root: Path = Path("/")) -> Iterator[Finding]:
    """Examine the device.

    Args:
        config: The agent's configuration.
        root: Where /proc and /sys are; another folder in tests.
    """
    snapshot = take_snapshot(root=root)
    yield Finding("processor", "ok", f"{snapshot.cpu_model}, {snapshot.cores} usable cores")
    budget = memory_budget(
        snapshot, limit_bytes=config.limits.models_bytes, share=config.limits.memory_share, in_use_bytes=0
    )
    state = f"{format_bytes(budget.limit_bytes)} for models ({budget.reason})"
    if budget.limit_bytes < _SMALLEST_WORKER_BYTES:
        repair = (
            f"an engine alone needs about {format_bytes(_SMALLEST_WORKER_BYTES)}: raise limits.memory or free memory"
        )
        yield Finding("memory", "fail", state, repair)
    else:
        yield Finding("memory", "ok", state)
    yield from _memory_controller(root)
    yield from _swap(root)
    yield from _board(read_board(root=root))
    if snapshot.temperature_celsius is not None:
        hot = snapshot.temperature_celsius >= _HOT_CELSIUS
        repair = "cool the board: it slows down from 80 °C" if hot else ""
        yield Finding("temperature", "warn" if hot else "ok", f"{snapshot.temperature_celsius:.0f} °C", repair)


def _memory_controller(root: Path) -> Iterator[Finding]:
    controllers = _read(root / "sys/fs/cgroup/cgroup.controllers").split()
    first_version = (root / "sys/fs/cgroup/memory").is_dir()
    if "memory" in controllers or first_version:
        yield Finding("memory controller", "ok", "the kernel can limit the memory of services")
        return
    repair = (
        "add cgroup_enable=memory to /boot/firmware/cmdline.txt if MemoryMax= of the unit is to hold; "
        "the agent limits its workers without it"
    )
    disabled = "cgroup_disable=memory" in _read(root / "proc/cmdline")
    state = "switched off by cgroup_disable=memory" if disabled else "absent"
    yield Finding("memory controller", "note", state, repair)


def _swap(root: Path) -> Iterator[Finding]:
    numbers = dict(line.split(":", 1) for line in _read(root / "proc/meminfo").splitlines() if ":" in line)
    total, free = (_kib(numbers.get(key, "")) for key in ("SwapTotal", "SwapFree"))
    if not total:
        return
    used = total - free
    state = f"{format_bytes(used)} of {format_bytes(total)} in use"
    if used > _MUCH_SWAP_BYTES:
        yield Finding(
            "swap", "warn", state, "free memory or lower limits.memory: a model that is paged out answers late"
        )
    else:
        yield Finding("swap", "ok", state)


def _board(board: Board) -> Iterator[Finding]:
    if board.governor is not None and board.governor != "performance":
        repair = (
            "for even latencies: echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; "
            "an inference after a pause otherwise starts at the lowest clock"
        )
        yield Finding("governor", "note", board.governor, repair)
    flags = board.throttling or ()
    now = [flag for flag in flags if not flag.endswith(_OCCURRED)]
    before = [flag.removesuffix(_OCCURRED) for flag in flags if flag.endswith(_OCCURRED)]
    repair = "use a 5.1 V, 3 A supply with a short cable, and cool the board"
    if now:
        yield Finding("power", "warn", f"the firmware reports {', '.join(now)} now", repair)
    elif before:
        yield Finding("power", "note", f"the firmware reported {', '.join(before)} since the device booted", repair)
    elif board.throttling is not None:
        yield Finding("power", "ok", "no under-voltage and no throttling since the device booted")


def _kib(text: str) -> int:
    words = text.split()
    return int(words[0]) * 1024 if words and words[0].isdigit() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
