"""The agent and its other engines: variants of several are measured, and one of each alone serves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from drupelet_host.client import BrokerAddress, DeviceClient
from support.agent.agents import DEVICE, listener, run_agent_command, running_agent, write_config
from support.broker.brokers import Broker
from support.package.served_packages import (
    LITERT_VARIANT,
    NCNN_VARIANT,
    VARIANT,
    Keys,
    linear_weights,
    make_keys,
    make_package,
)

OTHERS = pytest.mark.parametrize(("variant", "engine"), [(LITERT_VARIANT, "litert"), (NCNN_VARIANT, "ncnn")])


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    found = make_keys(tmp_path)
    (tmp_path / "trust").mkdir()
    shutil.copy(found.public, tmp_path / "trust")
    return found


def test_the_variants_of_all_engines_are_measured(tmp_path: Path, keys: Keys, embedded: Broker) -> None:
    config = write_config(tmp_path, embedded)
    package = make_package(tmp_path, keys, variants=(VARIANT, LITERT_VARIANT, NCNN_VARIANT))
    activation = json.loads(run_agent_command(config, "install", str(package), "--json").stdout)
    reason = activation["plan"]["reason"]
    assert f"{VARIANT} x1 p50" in reason
    assert f"{LITERT_VARIANT} x1 p50" in reason
    assert f"{NCNN_VARIANT} x1 p50" in reason
    assert activation["variant"] in {VARIANT, LITERT_VARIANT, NCNN_VARIANT}


@OTHERS
def test_a_package_for_one_engine_alone_serves(
    tmp_path: Path, keys: Keys, embedded: Broker, variant: str, engine: str
) -> None:
    config = write_config(tmp_path, embedded)
    run_agent_command(config, "install", str(make_package(tmp_path, keys, variants=(variant,))))
    image = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    with listener(embedded) as heard, running_agent(config) as agent:
        state = heard.wait_for(heard.topics.model_state("digits"), health="ready", variant=variant)
        with DeviceClient(DEVICE, broker=BrokerAddress(embedded.host, embedded.port)) as client:
            reply = client.infer("digits", {"image": image}, timeout_s=10)
        assert agent.stop() == 0
    assert state["variant"] == variant
    assert state["plan"]["engine"] == engine
    np.testing.assert_allclose(reply.outputs["scores"], image.reshape(1, 64) @ linear_weights(), atol=1e-5)


@OTHERS
def test_outputs_that_differ_from_the_golden_vectors_are_refused(
    tmp_path: Path, keys: Keys, embedded: Broker, variant: str, engine: str
) -> None:
    assert engine in variant
    config = write_config(tmp_path, embedded)
    package = make_package(tmp_path, keys, variants=(variant,), golden_error=1.0)
    result = run_agent_command(config, "install", str(package), check=False)
    assert result.returncode == 1
    assert "outputs differ from the golden vectors" in result.stderr


def test_the_doctor_lists_every_engine(tmp_path: Path, keys: Keys, embedded: Broker) -> None:
    assert keys.public.exists()
    findings = json.loads(run_agent_command(write_config(tmp_path, embedded), "doctor", "--json").stdout)
    engines = {f["what"]: f["status"] for f in findings if f["what"].startswith("engine ")}
    assert engines == {"engine onnxruntime": "ok", "engine litert": "ok", "engine ncnn": "ok"}
