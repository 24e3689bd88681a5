"""Looks at everything the agent needs on this device, and says how to mend what is wrong."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from drupelet_agent.config import AgentConfig
from drupelet_agent.errors import BrokerError
from drupelet_agent.mqtt.connection import try_broker
from drupelet_agent.resources.planner import memory_budget
from drupelet_agent.resources.probe import take_snapshot
from drupelet_agent.store.store import Store
from drupelet_shared.engines.registry import ENGINES, load_engine
from drupelet_shared.errors import DrupeletError, EngineUnavailableError
from drupelet_shared.trust import load_trust_folder
from drupelet_shared.units import format_bytes

_HOT_CELSIUS = 75.0
_LITTLE_ROOM_BYTES = 200 * 10**6
_SMALLEST_WORKER_BYTES = 100 * 10**6


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    status: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{self.status:<4}  {self.what}: {self.found}"
        return f"{line}\n      -> {self.mend}" if self.mend else line

    def as_json(self) -> dict[str, str]:
        """The finding as JSON values."""
        return asdict(self)


def examine(config: AgentConfig) -> list[Finding]:
    """Look at store, keys, engines, resources and broker, in this order."""
    return [
        _store(config),
        _trust(config),
        *_engines(),
        *_resources(config),
        _broker(config),
    ]


def _store(config: AgentConfig) -> Finding:
    store = Store(config.state_dir)
    try:
        store.create()
        with tempfile.TemporaryFile(dir=config.state_dir):
            pass
        free_bytes = store.free_bytes()
        models = store.active()
    except (DrupeletError, OSError) as error:
        mend = f"make {config.state_dir} writable for uid {os.getuid()}, or set state_dir"
        return Finding("store", "fail", str(error), mend)
    found = f"{config.state_dir}, {len(models)} active models, {format_bytes(free_bytes)} free"
    if free_bytes < _LITTLE_ROOM_BYTES:
        return Finding("store", "warn", found, "free some room: a package and its successor must fit")
    return Finding("store", "ok", found)


def _trust(config: AgentConfig) -> Finding:
    if config.trust.allow_unsigned:
        mend = "remove trust.allow_unsigned and put your public key in the trust folder"
        return Finding("trust", "warn", "unsigned packages are accepted from anybody", mend)
    try:
        keys = load_trust_folder(config.trust.folder)
    except DrupeletError as error:
        mend = f"copy the .pub file that `drupelet keygen` wrote into {config.trust.folder}"
        return Finding("trust", "fail", str(error), mend)
    if not keys:
        mend = f"copy the .pub file that `drupelet keygen` wrote into {config.trust.folder}"
        return Finding("trust", "warn", f"no keys in {config.trust.folder}, so every package is refused", mend)
    return Finding("trust", "ok", f"{len(keys)} trusted keys in {config.trust.folder}")


def _engines() -> Iterator[Finding]:
    usable = 0
    findings = []
    for name in ENGINES:
        try:
            findings.append(Finding(f"engine {name}", "ok", load_engine(name).version))
            usable += 1
        except EngineUnavailableError as error:
            findings.append(Finding(f"engine {name}", "warn", str(error), "packages for this engine cannot run here"))
    yield from findings
    if not usable:
        yield Finding("engines", "fail", "none is installed", "pip install 'drupelet[agent]'")


def _resources(config: AgentConfig) -> Iterator[Finding]:
    snapshot = take_snapshot()
    yield Finding("processor", "ok", f"{snapshot.cpu_model}, {snapshot.cores} usable cores")
    budget = memory_budget(snapshot, limit_bytes=config.limits.memory, share=config.limits.memory_share, in_use_bytes=0)
    found = f"{format_bytes(budget.limit_bytes)} for models ({budget.reason})"
    if budget.limit_bytes < _SMALLEST_WORKER_BYTES:
        mend = f"an engine alone needs about {format_bytes(_SMALLEST_WORKER_BYTES)}: raise limits.memory or free memory"
        yield Finding("memory", "fail", found, mend)
    else:
        yield Finding("memory", "ok", found)
    if snapshot.throttled:
        yield Finding("power", "warn", "the firmware slows the cores down now", "use a 3 A supply and cool the board")
    if snapshot.temperature_celsius is not None:
        hot = snapshot.temperature_celsius >= _HOT_CELSIUS
        mend = "cool the board: it slows down from 80 °C" if hot else ""
        yield Finding("temperature", "warn" if hot else "ok", f"{snapshot.temperature_celsius:.0f} °C", mend)


def _broker(config: AgentConfig) -> Finding:
    where = f"{config.broker.host}:{config.broker.port}"
    try:
        asyncio.run(try_broker(config.broker, client_id=f"drupelet-{config.device}-doctor"))
    except (BrokerError, DrupeletError) as error:
        return Finding("broker", "fail", str(error), "start the broker, or correct [broker] in the configuration")
    return Finding("broker", "ok", f"{where} accepts an MQTT 5 session")
