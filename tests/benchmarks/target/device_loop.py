"""Boards in the loop: what a limit in milliseconds is worth after installation, and what serving loses meanwhile.

    PYTHONPATH=tests python -m benchmarks.target.device_loop --recipes 10

An agent on this machine stands for the board. Its original's median gives the limits, from 90 % of it downwards. Each
recipe is compiled with that board in the loop and installed there; the plan's own median must be within the limit.
Another model is served all the while. The first limits are compiled again as ratios on the workstation, for minutes.
On a busy machine, times before and during differ by its load too. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from drupelet_host.client import BrokerAddress
from drupelet_host.client.control.control import ControlClient
from drupelet_host.compiler.compile import compile_recipe
from drupelet_host.errors import ConstraintError, LatencyError
from drupelet_host.latency.machine import describe_machine
from drupelet_host.recipe.schema import Recipe, parse_recipe
from drupelet_shared.contract.commands import InstalledRelease, InstallRequest
from drupelet_shared.timing import percentile
from support.agent.agents import running_agent
from support.agent.sites import Site, make_site
from support.broker.brokers import Broker, embedded_broker
from support.model.tiny_project import DATA_SOURCE, MODEL_SOURCE, RECIPE_SOURCE, write_project

# The same pictures, six times as wide and high, so that the network's convolutions are most of its time.
_ENLARGED = "    return np.kron(inputs, np.ones((1, 1, 6, 6), np.float32)), labels.astype(np.int64)"
_SIDE = 48
_HIGHEST, _LOWEST = 0.9, 0.55
_IMAGE = {"image": np.zeros((1, 1, 8, 8), np.float32)}
_REQUEST_EVERY_S = 0.1
# A busy machine leaves few gaps between two requests.
_BOARD_SECONDS, _BOARD_WAIT_S = 3.0, 600.0
_START_S = 300.0
_MOST_TRIALS = 8
_WORKSTATION_RECIPES = 3


@dataclass
class Outcome:
    """One recipe: its limit and what came of it, in milliseconds and minutes."""

    limit_ms: float
    compile_minutes: float
    compiled_ms: float | None = None
    installed_ms: float | None = None
    fault: str | None = None

    @property
    def held(self) -> bool:
        """Whether the median that the agent measured at installation is within the limit."""
        return self.installed_ms is not None and self.installed_ms <= self.limit_ms


@dataclass
class Served:
    """The times of requests to the other model in milliseconds."""

    before: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    measuring: bool = False

    def add(self, time_ms: float) -> None:
        """Add one request."""
        (self.during if self.measuring else self.before).append(time_ms)


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", type=int, default=10)
    parser.add_argument("--seconds-before", type=float, default=20.0, help="of serving before the first compile")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drupelet-bench-") as folder, embedded_broker() as broker:
        print(json.dumps(run(Path(folder), broker, arguments.recipes, arguments.seconds_before), indent=2))


def run(folder: Path, broker: Broker, recipes: int, seconds_before: float) -> dict[str, object]:
    """Return the numbers.

    Args:
        folder: A folder for the device and the project.
        broker: The broker between compiler and agent.
        recipes: How many limits are tried.
        seconds_before: How long requests are timed before the first compile.
    """
    site = make_site(folder)
    config = site.configure(broker, extra="trust.measure = true\ntuning.max_seconds = 3.0", interval_s=10.0)
    site.install(config)
    project, load_before = write_large_project(folder / "project"), os.getloadavg()
    served = Served()
    with running_agent(config), site.listener(broker) as listener:
        listener.patience_s = _START_S
        listener.wait_for(site.topics.model_state("digits"), health="ready")
        with requests(site, broker, served):
            time.sleep(seconds_before)
            served.measuring = True
            original_ms = compile_original(project, site, broker)
            shares = np.linspace(_HIGHEST, _LOWEST, recipes)
            outcomes = []
            for number, share in enumerate(shares, start=1):
                outcome = compile_and_install(project, site, broker, limit_ms=float(share * original_ms), number=number)
                outcomes.append(outcome)
                print(f"recipe {number}: {outcome}", file=sys.stderr, flush=True)
            served.measuring = False
            workstation = [
                time_workstation(project, site, broker, share=share, number=number)
                for number, share in enumerate(shares[:_WORKSTATION_RECIPES], start=1)
            ]
    compiled = [outcome for outcome in outcomes if outcome.fault is None]
    return {
        "machine": describe_machine(),
        "what": "an agent on this machine as the board; every number was measured on it, under the load that is stated",
        "load": {"before": load_before, "after": os.getloadavg()},
        "original_ms": original_ms,
        "compiled": len(compiled),
        "held": sum(outcome.held for outcome in compiled),
        "served_p99_ms": {"before": p99(served.before), "during": p99(served.during)},
        "compile_minutes": {
            "boards": [round(outcome.compile_minutes, 2) for outcome in outcomes[:_WORKSTATION_RECIPES]],
            "workstation": [round(minutes, 2) for minutes in workstation],
        },
        "recipes": [{**asdict(outcome), "held": outcome.held} for outcome in outcomes],
    }


def p99(times_ms: list[float]) -> float | None:
    """Return the 99th percentile; None without a time."""
    return percentile(sorted(times_ms), 0.99) if times_ms else None


def write_large_project(folder: Path) -> Path:
    """Write the tiny project with larger pictures."""
    write_project(folder)
    source = DATA_SOURCE.replace("    return inputs, labels.astype(np.int64)", _ENLARGED)
    (folder / "data.py").write_text(source, encoding="utf-8")
    (folder / "model.py").write_text(MODEL_SOURCE, encoding="utf-8")
    return folder


def make_recipe(
    project: Path,
    site: Site,
    broker: Broker,
    *,
    number: int,
    limit: str | float | None,
    latency: Literal["boards", "workstation"] = "boards",
) -> Recipe:
    """Return a recipe.

    Args:
        project: The folder of the model.
        site: The device.
        broker: The broker.
        number: The release.
        limit: The limit on the latency; None for none.
        latency: The source of latencies.
    """
    document = tomllib.loads(RECIPE_SOURCE)
    document["model"] |= {"input_shape": [1, 1, _SIDE, _SIDE], "release": number, "version": f"{number}.0.0"}
    boards: dict[str, Any] = {"devices": [site.topics.device], "broker": broker.url}
    boards |= {"max_seconds": _BOARD_SECONDS, "max_wait_s": _BOARD_WAIT_S}
    document["target"] = {"boards": boards} if latency == "boards" else {"latency": latency}
    document["constraints"] = {"max_metric_drop": 0.1}
    document["prune"] = {"recovery": {"epochs": 2}, "max_trials": _MOST_TRIALS}
    if limit is None:
        document["prune"] = {"prune_ratio": 0.0, "iterations": 1, "recovery": {"epochs": 0}}
    else:
        document["constraints"]["max_latency"] = limit
    document["quantize"] = {"samples": 32, "method": "minmax", "variants": ["static"]}
    document["output"] = {"folder": f"build-{number}", "key": str(site.keys.private)}
    return parse_recipe(document, folder=project)


def compile_original(project: Path, site: Site, broker: Broker) -> float:
    """Return the original's median on the board."""
    state = compile_recipe(make_recipe(project, site, broker, number=1, limit=None))
    return state.reference.target_latency.p50_ms


def compile_and_install(project: Path, site: Site, broker: Broker, *, limit_ms: float, number: int) -> Outcome:
    """Compile to a limit, install the result, and take the median from the agent's plan.

    Args:
        project: The folder of the model.
        site: The device.
        broker: The broker.
        limit_ms: The limit in milliseconds.
        number: The release.
    """
    start_s = time.monotonic()
    recipe = make_recipe(project, site, broker, number=number, limit=f"{limit_ms:.6f} ms")
    try:
        state = compile_recipe(recipe)
    except (ConstraintError, LatencyError) as error:
        return Outcome(limit_ms, (time.monotonic() - start_s) / 60, fault=str(error).partition("\n")[0])
    outcome = Outcome(limit_ms, (time.monotonic() - start_s) / 60)
    outcome.compiled_ms = state.measurements[state.ranking[0]].target_latency.p50_ms
    assert state.package is not None
    with ControlClient(broker=BrokerAddress(broker.host, broker.port)) as control:
        request = InstallRequest(source=state.package.as_uri())
        installed = control.command(site.topics.device, "install", request, InstalledRelease)
    outcome.installed_ms = installed.plan.p50_ms
    return outcome


def time_workstation(project: Path, site: Site, broker: Broker, *, share: float, number: int) -> float:
    """Return the minutes of the same compile with latencies of this machine's own.

    Args:
        project: The folder of the model.
        site: The device, which takes no part.
        broker: The broker.
        share: The limit as a ratio to the original.
        number: The release.
    """
    start_s = time.monotonic()
    recipe = make_recipe(project, site, broker, number=number, limit=float(share), latency="workstation")
    try:
        compile_recipe(recipe)
    except ConstraintError as error:
        print(f"workstation, recipe {number}: {error}", file=sys.stderr, flush=True)
    return (time.monotonic() - start_s) / 60


@contextmanager
def requests(site: Site, broker: Broker, served: Served) -> Iterator[None]:
    """Send requests to the other model until the block ends."""
    ending = threading.Event()

    def send() -> None:
        with site.client(broker) as client:
            while not ending.wait(_REQUEST_EVERY_S):
                start_s = time.perf_counter()
                client.infer("digits", _IMAGE)
                served.add((time.perf_counter() - start_s) * 1e3)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


if __name__ == "__main__":
    main()
