"""The emulated device, the host's broker and client, and the packages that go from one to the other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from drupelet_host.client import BrokerAddress, DeviceClient
from drupelet_host.errors import ReplyTimeoutError
from drupelet_shared.contract.messages import ModelState
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.engines.base import Array
from drupelet_shared.inference import InferenceReply
from emulated.machine.machine import Machine
from support.broker.brokers import Broker, mosquitto_broker
from support.package.served_packages import VARIANT, Keys, linear_weights, make_keys, make_package

UNIT = "drupelet-agent.service"
DEVICE = "pi4-emulated"
_RECORDS = "/var/lib/drupelet/models"
# As the guest sees the host's loopback.
_HOST = "10.0.2.2"
# An emulated agent imports, loads and tunes for half a minute, more on a busy host.
PATIENCE_S = 400.0
# Each look costs the guest a second.
_POLL_S = 3.0
_CONFIG = """\
device = "{device}"
[broker]
host = "{host}"
port = {port}
[trust]
folder = "/etc/drupelet/trust"
[limits]
memory_share = 0.75
[tuning]
# The times mean nothing here.
runs = 10
warmup = 1
threads = [4]
[retune]
enabled = false
look_s = 1.0
[contract]
window_s = 5
min_requests = 10
[telemetry]
interval_s = 2
"""


class CheckError(Exception):
    """Something was not as it must be."""


def expect(condition: object, message: str) -> None:
    """Raise `CheckError` unless the condition holds."""
    if not condition:
        raise CheckError(message)


@dataclass(frozen=True, slots=True)
class Unit:
    """Return the state of the service in systemd."""

    pid: int
    restarts: int
    state: str
    text: str


class Lab:
    """Everything that a check needs; one at a time."""

    def __init__(self, machine: Machine, broker: Broker, keys: Keys, work: Path, client: DeviceClient) -> None:
        self.machine = machine
        self.shell = machine.shell
        self.broker = broker
        self.keys = keys
        self.work = work
        self.client = client
        self.topics = DeviceTopics(DEVICE)

    def boot(self, *kernel_options: str) -> None:
        """Have the machine run with these kernel options and the agent configured for this run's broker."""
        if self.machine.is_on and self.machine.kernel_options == kernel_options:
            return
        if self.machine.is_on:
            self.machine.shut_down()
        self.machine.power_on(kernel_options=kernel_options)

    def configure(self) -> None:
        """Give the installed agent its broker and the maker's key, and start it again where that is news."""
        text = _CONFIG.format(device=DEVICE, host=_HOST, port=self.broker.port)
        if self.shell.run("cat /etc/drupelet/agent.toml") == text.strip():
            return
        self.shell.write("/etc/drupelet/agent.toml", text)
        self.shell.copy(self.keys.public, to="/etc/drupelet/trust/")
        self.shell.run(f"systemctl restart --no-block {UNIT}")

    def unit(self) -> Unit:
        """The service now."""
        names = ("MainPID", "NRestarts", "ActiveState", "StatusText")
        options = " ".join(f"-p {name}" for name in names)
        lines = self.shell.run(f"systemctl show {options} {UNIT}").splitlines()
        found = dict(line.split("=", 1) for line in lines)
        return Unit(int(found["MainPID"]), int(found["NRestarts"]), found["ActiveState"], found["StatusText"])

    def wait_for_unit(self, accept: Callable[[Unit], bool], what: str, *, timeout_s: float = PATIENCE_S) -> Unit:
        """The service once it is as wanted."""
        deadline = time.monotonic() + timeout_s
        while True:
            unit = self.unit()
            if accept(unit):
                return unit
            expect(time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s; last: {unit}")
            time.sleep(_POLL_S)

    def wait_until_serving(self, *models: str) -> Unit:
        """The service once it serves exactly these models."""
        wanted = set(models or ("no model",))

        def serves(unit: Unit) -> bool:
            return unit.state == "active" and set(unit.text.removeprefix("serving ").split(", ")) == wanted

        return self.wait_for_unit(serves, f"serving {', '.join(sorted(wanted))}")

    def worker(self, model: str = "digits") -> int:
        """The process id of a model's one worker, which has the package's digest on its command line."""
        digest = self.records()[model]["active"]["digest"]
        found = self.shell.run(f"grep -ls {digest} /proc/[0-9]*/cmdline || true").split()
        pids = [int(path.split("/")[2]) for path in found if path.split("/")[2] != "self"]
        # The shell that looks has it on its own.
        workers = [pid for pid in pids if self.shell.run(f"cat /proc/{pid}/comm 2>/dev/null || true") == "python"]
        expect(len(workers) == 1, f"{model} has {len(workers)} workers, not one")
        return workers[0]

    def ask(self, model: str = "digits", *, brightness: float = 0.5, timeout_s: float = PATIENCE_S) -> InferenceReply:
        """An answer to one image; asked again until it comes, as from an agent that has only just been started."""
        deadline = time.monotonic() + timeout_s
        while True:
            with suppress(ReplyTimeoutError):
                return self.ask_once(model, brightness=brightness)
            expect(time.monotonic() < deadline, f"{model}: no answer within {timeout_s:g} s")

    def ask_once(self, model: str = "digits", *, brightness: float = 0.5) -> InferenceReply:
        """An answer to one image, which is compared with what the host computes."""
        image = np.full((1, 1, 8, 8), brightness, np.float32)
        reply = self.client.infer(model, {"image": image}, timeout_s=30)
        expected: Array = image.reshape(1, 64) @ linear_weights()
        error = float(np.abs(reply.outputs["scores"] - expected).max())
        expect(error < 1e-3 * max(1.0, brightness), f"{model}: the scores are off by {error:g}")
        return reply

    def records(self) -> dict[str, dict[str, Any]]:
        """The store's record of each model, as it lies on the disk: the agent's own command would take ten seconds."""
        names = self.shell.run(f"ls {_RECORDS}").split()
        return {name.removesuffix(".json"): json.loads(self.shell.run(f"cat {_RECORDS}/{name}")) for name in names}

    def active_release(self, model: str = "digits") -> int:
        """The release that the store holds for active; 0 for none."""
        active = self.records().get(model, {}).get("active") or {}
        return int(active.get("release", 0))

    def make_package(
        self, *, model: bytes | None = None, name: str = "digits", variant: str = VARIANT
    ) -> tuple[Path, int]:
        """A package of one variant with the next release that the device takes."""
        release = int(self.records().get(name, {}).get("highest_release", 0)) + 1
        folder = self.work / "packages"
        folder.mkdir(exist_ok=True)
        package = make_package(folder, self.keys, name=name, release=release, model=model, variants=(variant,))
        return package, release

    def wait_for_release(self, release: int, *, model: str = "digits") -> ModelState:
        """The model's state once that release answers."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with suppress(ReplyTimeoutError):
                state = self.client.model_state(model, timeout_s=20)
                if state.release == release and state.health == "ready":
                    return state
            expect(time.monotonic() < deadline, f"{model} release {release} is not ready within {PATIENCE_S:g} s")
            time.sleep(_POLL_S)


@contextmanager
def open_lab(parts: Path, *, work: Path) -> Iterator[Lab]:
    """A broker on the host's loopback, a machine that is off, and keys; the machine ends with the block."""
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto_broker(work))
        client = stack.enter_context(DeviceClient(DEVICE, broker=BrokerAddress(broker.host, broker.port)))
        keys = Keys(work / "maker.key", work / "maker.pub")
        if not keys.private.is_file():
            keys = make_keys(work)
        machine = Machine(parts, work=work)
        stack.callback(machine.cut_power)
        yield Lab(machine, broker, keys, work, client)
