"""What each measurement runs on: mosquitto, the installed model and the agent as its own process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.spine_model import MODEL, make_spine_package
from drupelet_shared.contract.topics import DeviceTopics
from support.agent.agents import listener, run_agent_command
from support.broker.brokers import Broker, mosquitto_broker

TELEMETRY_INTERVAL_S = 1.0
_DEVICE = "bench"
_STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A broker and an agent's configuration with the model active."""

    broker: Broker
    config: Path
    topics: DeviceTopics
    model: str = MODEL

    @property
    def infer_topic(self) -> str:
        """Where requests for the model go."""
        return self.topics.infer(self.model)


@contextmanager
def open_stage(
    folder: Path,
    *,
    make_package: Callable[[Path], tuple[Path, Path]] = make_spine_package,
    model: str = MODEL,
    settings: str = "",
) -> Iterator[Stage]:
    """Start a broker and install the model; the agent does not run yet.

    Args:
        folder: For everything; it is made.
        make_package: Builds a package in a folder; gives it and the public key that the device must trust.
        model: The package's name.
        settings: More lines of the agent's configuration.
    """
    folder.mkdir()
    with mosquitto_broker(folder) as broker:
        yield set_up(folder, broker, make_package=make_package, model=model, settings=settings)


def set_up(
    folder: Path, broker: Broker, *, make_package: Callable[[Path], tuple[Path, Path]], model: str, settings: str = ""
) -> Stage:
    """Install a model for an agent that will find this broker."""
    package, public_key = make_package(folder)
    config = _write_config(folder, broker, public_key, settings=settings)
    run_agent_command(config, "install", str(package))
    return Stage(broker=broker, config=config, topics=DeviceTopics(_DEVICE), model=model)


@contextmanager
def start_agent(stage: Stage, *, python: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Start the agent and do not wait for it; it ends in good order, or is killed.

    Args:
        stage: What it runs on.
        python: The interpreter of another environment; this one's by default.
    """
    command = [str(python or sys.executable), "-m", "drupelet_agent", "--config", str(stage.config), "run"]
    log = stage.config.with_name("agent.log")
    with log.open("ab") as output, subprocess.Popen(command, stderr=output) as process:
        try:
            yield process
            process.terminate()
            process.wait(timeout=_STOP_TIMEOUT_S)
        finally:
            process.kill()


@contextmanager
def serving_agent(stage: Stage, *, python: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Start the agent and wait until its model is ready; once a stage, since the ready state is retained."""
    with start_agent(stage, python=python) as process:
        with listener(stage.broker, device=_DEVICE) as heard:
            heard.wait_for(stage.topics.model_state(stage.model), health="ready")
        yield process


def _write_config(folder: Path, broker: Broker, public_key: Path, *, settings: str) -> Path:
    trust = folder / "trust"
    trust.mkdir()
    shutil.copy(public_key, trust)
    path = folder / "agent.toml"
    # One thread: the engine has nothing to do, and the cores are wanted by the path that is measured.
    text = f"""
        device = "{_DEVICE}"
        state_dir = "state"
        trust.folder = "trust"
        broker.host = "{broker.host}"
        broker.port = {broker.port}
        tuning.runs = 10
        tuning.threads = [1]
        telemetry.interval_s = {TELEMETRY_INTERVAL_S}
        {settings}
    """
    path.write_text(text, encoding="utf-8")
    return path
