"""A device of its own for one test: a name that no broker has heard, keys that are trusted, a folder for everything."""

from __future__ import annotations

import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil

from drupelet_host.client import BrokerAddress, DeviceClient
from drupelet_shared.contract.topics import DeviceTopics
from support.agent.agents import Listener, listener, run_agent_command, write_config
from support.broker.brokers import Broker
from support.package.served_packages import Keys, make_keys, make_package


@dataclass(frozen=True)
class Site:
    """A device of its own, as brokers remember devices: its keys are trusted and packages are made in its folder."""

    folder: Path
    keys: Keys
    topics: DeviceTopics

    def configure(self, broker: Broker, *, extra: str = "", interval_s: float = 0.5) -> Path:
        return write_config(self.folder, broker, extra=extra, device=self.topics.device, interval_s=interval_s)

    def listener(self, broker: Broker) -> AbstractContextManager[Listener]:
        return listener(broker, device=self.topics.device)

    def client(self, broker: Broker) -> DeviceClient:
        return DeviceClient(self.topics.device, broker=BrokerAddress(broker.host, broker.port))

    def install(self, config: Path, *, name: str = "digits", release: int = 1, model: bytes | None = None) -> None:
        package = make_package(self.folder, self.keys, name=name, release=release, model=model)
        run_agent_command(config, "install", str(package))


def make_site(folder: Path) -> Site:
    """Return a site in an empty folder."""
    keys = make_keys(folder)
    (folder / "trust").mkdir()
    (folder / "trust/maker.pub").write_bytes(keys.public.read_bytes())
    return Site(folder=folder, keys=keys, topics=DeviceTopics(f"pi-{uuid.uuid4().hex[:8]}"))


def worker_of(agent_pid: int) -> psutil.Process:
    """Return the one worker of an agent that serves one model."""
    (worker,) = psutil.Process(agent_pid).children()
    return worker
