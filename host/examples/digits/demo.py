"""The whole path on one machine: train, compile, sign, install, serve over MQTT, measure.

`make demo` runs it. Every step is the command a person would type; the embedded broker listens on loopback only, and
the agent is a process of its own. Everything that is made lies in `.demo/`.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from data import pixels, validation
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from train import train

from drupelet_host.client import BrokerAddress, DeviceClient
from drupelet_host.demo.broker import DemoBroker, demo_broker
from drupelet_host.errors import RemoteError
from drupelet_shared.contract.messages import ModelTelemetry
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.contract.wire import PNG_TYPE
from drupelet_shared.inference import Encoded, InferenceReply, InferenceRequest, encode_request
from drupelet_shared.units import format_bytes

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[2] / ".demo"
DEVICE, MODEL = "demo-pi", "digits"
IN_FLIGHT = 16
TIMEOUT_S = 30.0
CLASSES, TOP_K = 10, 5

console = Console(highlight=False)


@dataclass
class Answers:
    """What came back for one kind of request."""

    sent: int = 0
    right_shape: int = 0
    correct: int = 0
    faults: Counter[str] = field(default_factory=Counter)


def main() -> int:
    """Run every step; 1 if a request got no right-shaped answer."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    compiled = compile_digits()
    with demo_broker() as broker, telemetry(broker) as windows:
        config = write_config(broker)
        drupelet_agent("--config", config, "install", compiled["package"])
        with agent(config), DeviceClient(DEVICE, broker=BrokerAddress(broker.host, broker.port)) as client:
            wait_until_ready(client)
            images = ask_all(client, "PNG images", png_requests(), read_top_k)
            tensors = ask_all(client, "tensors", tensor_requests(), read_scores)
            time.sleep(1.5)  # the agent's last window
    print_tables(compiled, windows, {"PNG images": images, "tensors": tensors})
    unanswered = sum(answers.sent - answers.right_shape for answers in (images, tensors))
    if unanswered:
        console.print(f"{unanswered} requests had no right-shaped answer")
    return 1 if unanswered else 0


def compile_digits() -> dict[str, Any]:
    """Train the float network, compile it by the recipe and sign the package; what `drupelet compile` reported."""
    for name in ("model.py", "data.py", "recipe.toml"):
        shutil.copy(HERE / name, FOLDER / name)
    train(FOLDER / "weights.pt")
    compiled: dict[str, Any] = json.loads(drupelet("compile", FOLDER / "recipe.toml", "--json"))
    drupelet("keygen", FOLDER / "maker")
    drupelet("sign", compiled["package"], "--key", FOLDER / "maker.key")
    return compiled


def drupelet(*words: object) -> str:
    """Run a `drupelet` command; its progress shows, its result is returned."""
    return run_command("drupelet", "drupelet_host", *words)


def drupelet_agent(*words: object) -> str:
    """Run a `drupelet-agent` command."""
    return run_command("drupelet-agent", "drupelet_agent", *words)


def run_command(name: str, module: str, *words: object) -> str:
    """Show a command as a person would type it, and run it in this environment."""
    arguments = [str(word) for word in words]
    shown = [word.replace(f"{FOLDER.parent}/", "") for word in arguments]
    console.print(f"[bold]$ {name} {' '.join(shown)}[/]", soft_wrap=True)
    result = subprocess.run([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        sys.exit(result.returncode)
    return result.stdout


def write_config(broker: DemoBroker) -> Path:
    """Return the agent's configuration, and the maker's public key in the folder it trusts."""
    path = FOLDER / "agent.toml"
    path.write_text(
        f'device = "{DEVICE}"\nstate_dir = "state"\nlog.level = "warning"\n'
        f'[trust]\nfolder = "trust"\n[broker]\nhost = "{broker.host}"\nport = {broker.port}\n'
        "[telemetry]\ninterval_s = 1.0\n",
        encoding="utf-8",
    )
    (FOLDER / "trust").mkdir()
    shutil.copy(FOLDER / "maker.pub", FOLDER / "trust")
    return path


@contextmanager
def agent(config: Path) -> Iterator[None]:
    """Yield the agent as its own process, ended in good order."""
    command = [sys.executable, "-m", "drupelet_agent", "--config", str(config), "run"]
    console.print("[bold]$ drupelet-agent --config .demo/agent.toml run &[/]")
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


@contextmanager
def telemetry(broker: DemoBroker) -> Iterator[list[ModelTelemetry]]:
    """Yield the windows that the agent reports for the model, as they come."""
    windows: list[ModelTelemetry] = []
    topic = DeviceTopics(DEVICE).model_telemetry(MODEL)
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_connect = lambda *_: client.subscribe(topic)
    client.on_message = lambda _client, _data, message: windows.append(
        ModelTelemetry.model_validate_json(message.payload)
    )
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        yield windows
    finally:
        client.disconnect()
        client.loop_stop()


def wait_until_ready(client: DeviceClient) -> None:
    """Wait for the retained state that says the model answers."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if client.model_state(MODEL, timeout_s=1.0).health == "ready":
                return
        except RemoteError:
            continue
        time.sleep(0.05)
    sys.exit(f"the agent did not serve {MODEL} within {TIMEOUT_S:.0f} s")


def png_requests() -> list[Encoded]:
    """Return the held-out digits as PNG files."""
    requests = []
    for image in pixels()[0]:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        requests.append(Encoded(payload=buffer.getvalue(), content_type=PNG_TYPE, header_length=None))
    return requests


def tensor_requests() -> list[Encoded]:
    """Return the held-out digits as binary tensors."""
    return [
        encode_request(InferenceRequest(inputs={"input": image[None]}, binary_output=True), binary=True)
        for image in validation()[0]
    ]


def read_top_k(reply: InferenceReply) -> int | None:
    """Return the best label of an image's answer; None if the answer has another shape."""
    labels, scores = reply.outputs.get("labels"), reply.outputs.get("scores")
    if labels is None or scores is None or labels.shape != (TOP_K,) or scores.shape != (TOP_K,):
        return None
    return int(labels[0])


def read_scores(reply: InferenceReply) -> int | None:
    """Return the best class of a tensor's answer; None if the answer has another shape."""
    scores: npt.NDArray[np.float32] | None = reply.outputs.get("output")
    return int(scores.argmax()) if scores is not None and scores.shape == (1, CLASSES) else None


def ask_all(
    client: DeviceClient, what: str, requests: list[Encoded], read: Callable[[InferenceReply], int | None]
) -> Answers:
    """Send every request, a few in flight at a time, and judge the answers."""
    answers, wanted = Answers(), validation()[1]
    waiting: list[tuple[int, Future[InferenceReply]]] = []
    for index, request in enumerate(track(requests, description=f"{len(requests)} {what} over MQTT", console=console)):
        waiting.append((index, client.submit(MODEL, request, timeout_s=TIMEOUT_S)))
        if len(waiting) == IN_FLIGHT:
            judge(answers, *waiting.pop(0), wanted=wanted, read=read)
    for entry in waiting:
        judge(answers, *entry, wanted=wanted, read=read)
    return answers


def judge(
    answers: Answers,
    index: int,
    future: Future[InferenceReply],
    *,
    wanted: npt.NDArray[np.int64],
    read: Callable[[InferenceReply], int | None],
) -> None:
    """Wait for one answer and count it."""
    answers.sent += 1
    try:
        found = read(future.result())
    except RemoteError as error:
        answers.faults[error.code] += 1
        return
    if found is None:
        answers.faults["wrong shape"] += 1
    else:
        answers.right_shape += 1
        answers.correct += int(found == wanted[index])


def print_tables(compiled: dict[str, Any], windows: list[ModelTelemetry], answers: dict[str, Answers]) -> None:
    """Before and after, what came over MQTT, and what the agent said of itself."""
    console.print("in ONNX Runtime, one thread; p50 and p99 on this machine, which are not a Pi's times")
    table = Table()
    for heading in ("model", "size", "top-1", "p50 ms", "p99 ms", "Pi 4, modelled"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    models = compiled["models"]
    for name, row in models.items():
        times = (f"{row['p50_ms']:.3f}", f"{row['p99_ms']:.3f}")
        table.add_row(
            name, format_bytes(row["size_bytes"]), f"{row['metric']:.1%}", *times, modelled_ms(row["modelled"])
        )
    console.print(table)
    console.print("modelled times were not measured: the range is where a Raspberry Pi 4's median is expected")
    original, best = models["original"], models[compiled["ranking"][0]]
    smaller, faster = original["size_bytes"] / best["size_bytes"], original["p50_ms"] / best["p50_ms"]
    points = (best["metric"] - original["metric"]) * 100
    console.print(f"{smaller:.1f}x smaller, {faster:.1f}x faster, top-1 {points:+.1f} points\n")
    for what, found in answers.items():
        console.print(
            f"{what}: {found.right_shape} of {found.sent} answered in the right shape, "
            f"top-1 {found.correct / max(1, found.sent):.1%}{f', {dict(found.faults)}' if found.faults else ''}"
        )
    outcomes = sum((Counter(window.outcomes) for window in windows), Counter())
    console.print(f"the agent's own telemetry: {dict(outcomes)} in {len(windows)} windows")
    busiest = max(windows, key=lambda window: window.outcomes.get("ok", 0), default=None)
    if busiest is not None:
        print_stages(busiest)


def modelled_ms(estimate: dict[str, Any] | None) -> str:
    """Return what a model of the Pi's processor tells, with its range."""
    if estimate is None:
        return "not known"
    return f"{estimate['p50_ms']:.2f} ms ({estimate['low_ms']:.2f} to {estimate['high_ms']:.2f})"


def print_stages(window: ModelTelemetry) -> None:
    """One window's latency by stage."""
    console.print(f"its busiest window, {window.variant}, with up to {IN_FLIGHT} requests waiting for each other:")
    table = Table()
    for heading in ("stage", "count", "p50 ms", "p99 ms", "max ms"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage in ("queue", "decode", "inference", "encode", "total"):
        found = getattr(window, stage)
        if found is not None:
            table.add_row(stage, str(found.count), f"{found.p50_ms:.3f}", f"{found.p99_ms:.3f}", f"{found.max_ms:.3f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
