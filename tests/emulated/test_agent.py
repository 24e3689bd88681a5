"""The agent on the emulated Raspberry Pi 4: it installs a package there and serves it over the host's broker."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from benchmarks.instructions.emulator import EmulatedPi
from drupelet_shared.contract.messages import DeviceTelemetry, ModelState
from support.agent.agents import Listener
from support.agent.sites import Site, make_site
from support.broker.brokers import Broker
from support.package.served_packages import LITERT_VARIANT, VARIANT, linear_weights, make_package

NAME = "Raspberry Pi 4 Model B Rev 1.4"
# Every import is emulated too.
PATIENCE_S = 180.0
IMAGE = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)
SCORES = IMAGE.reshape(1, 64) @ linear_weights()
pytestmark = [pytest.mark.emulated, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


@contextmanager
def agent_on(pi: EmulatedPi, config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The emulated agent, which must end in good order; what it says goes to agent.log beside its configuration."""
    command = [str(pi.python), "-m", "drupelet_agent", "--config", str(config), "run"]
    with (config.parent / "agent.log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE_S) == 0
        finally:
            process.kill()


def agent(pi: EmulatedPi, config: Path, *words: str) -> str:
    return pi.run("-m", "drupelet_agent", "--config", config, *words)


def wait_until_ready(heard: Listener) -> ModelState:
    """The model's state once it is served; the test's own limit ends the wait."""
    while True:
        message = heard.messages.get(timeout=PATIENCE_S)
        heard.latest[message.topic] = message.payload
        if message.topic == heard.topics.model_state("digits"):
            state = ModelState.model_validate_json(message.payload)
            if state.health == "ready":
                return state


@pytest.mark.parametrize(
    ("broker", "variant"),
    [("embedded", LITERT_VARIANT), pytest.param("mosquitto", VARIANT, marks=pytest.mark.mosquitto)],
    indirect=["broker"],
)
def test_a_request_over_the_hosts_broker_is_answered_on_the_emulated_pi(
    pi: EmulatedPi, site: Site, broker: Broker, variant: str
) -> None:
    config = site.configure(broker)
    agent(pi, config, "install", str(make_package(site.folder, site.keys, variants=(variant,))))
    with site.listener(broker) as heard, agent_on(pi, config):
        assert wait_until_ready(heard).variant == variant
        with site.client(broker) as client:
            reply = client.infer("digits", {"image": IMAGE}, timeout_s=60)
        telemetry = DeviceTelemetry.model_validate(heard.wait_for(site.topics.device_telemetry))
    np.testing.assert_allclose(reply.outputs["scores"], SCORES, rtol=1e-4, atol=1e-4)
    assert telemetry.temperature_celsius == pytest.approx(48.686)


def test_where_the_kernel_refuses_parts_of_the_workers_sandbox_it_says_which_and_serves(
    pi: EmulatedPi, site: Site, embedded: Broker
) -> None:
    """QEMU's user mode has neither Landlock nor seccomp filters, like a kernel without them."""
    config = site.configure(embedded)
    package = make_package(site.folder, site.keys)
    command = [str(pi.python), "-m", "drupelet_agent", "--config", str(config), "install", str(package)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert result.returncode == 0, result.stderr
    assert "refused=landlock,system_call_filter" in result.stderr


def test_the_plan_is_made_for_the_four_cores_of_a_raspberry_pi_4(pi: EmulatedPi) -> None:
    script = "import drupelet_agent.device.probe as p; s = p.take_snapshot(); print(s.cores, s.throttled, s.cpu_model)"
    assert pi.run("-c", script) == f"4 False {NAME}\n"


def test_the_probe_reads_the_pis_own_temperature(pi: EmulatedPi) -> None:
    script = "from drupelet_agent.device.probe import take_snapshot; print(take_snapshot().temperature_celsius)"
    sensor = pi.file("/sys/class/hwmon/hwmon0/temp1_input")
    before = sensor.read_text(encoding="ascii")
    assert float(pi.run("-c", script)) == pytest.approx(int(before) / 1000)
    sensor.write_text("81500\n", encoding="ascii")
    try:
        assert float(pi.run("-c", script)) == pytest.approx(81.5)
    finally:
        sensor.write_text(before, encoding="ascii")


def test_the_doctor_finds_a_raspberry_pi_4_with_every_engine(pi: EmulatedPi, site: Site, embedded: Broker) -> None:
    report = agent(pi, site.configure(embedded), "doctor")
    assert f"ok    processor: {NAME}, 4 usable cores\n" in report
    assert "ok    temperature: 49 °C\n" in report
    assert "ok    engine onnxruntime: " in report
    assert "ok    engine litert: " in report
    assert "ok    engine ncnn: " in report
    assert "ok    round trip: " in report


def test_the_emulated_pi_is_another_machine_without_the_hosts_training_framework(pi: EmulatedPi) -> None:
    wanted = ("torch", "onnx", "click", "onnxruntime", "drupelet_agent")
    script = f"import importlib.util as u, platform; print(platform.machine(), [n for n in {wanted} if u.find_spec(n)])"
    assert pi.run("-c", script) == "aarch64 ['onnxruntime', 'drupelet_agent']\n"
