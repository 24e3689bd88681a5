"""The demo as `make demo` runs it: train, compile, sign, install, serve over MQTT, measure."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drupelet_host.packaging.signing import open_package
from drupelet_shared.package.trust import load_public_key
from support.agent.agents import listener, run_agent_command, running_agent
from support.broker.brokers import Broker

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def demo() -> str:
    command = [sys.executable, str(ROOT / "host/examples/digits/demo.py")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
@pytest.mark.timeout(700)
class TestDemo:
    def test_every_request_is_answered_in_the_right_shape(self, demo: str) -> None:
        assert "PNG images: 500 of 500 answered in the right shape" in demo
        assert "tensors: 500 of 500 answered in the right shape" in demo
        assert "{'ok': 1000}" in demo

    def test_the_compiled_model_is_four_times_smaller_and_loses_at_most_a_point(self, demo: str) -> None:
        found = re.search(r"([\d.]+)x smaller, ([\d.]+)x faster, top-1 ([+-][\d.]+) points", demo)
        assert found is not None
        assert float(found[1]) >= 4
        assert float(found[3]) >= -1

    def test_the_package_is_signed_by_the_demos_maker(self, demo: str) -> None:
        assert "drupelet sign" in demo
        folder = ROOT / ".demo"
        key = load_public_key(folder / "maker.pub")
        with open_package(folder / "build/digits-1.0.0.drupe", trusted_keys=[key]) as package:
            assert package.signed_by == key.id

    def test_the_infer_command_answers_with_the_label_and_the_tensor(
        self, demo: str, broker: Broker, tmp_path: Path
    ) -> None:
        assert demo
        config = tmp_path / "agent.toml"
        trust, package = ROOT / ".demo/trust", ROOT / ".demo/build/digits-1.0.0.drupe"
        config.write_text(
            f'device = "pi-infer"\nstate_dir = "state"\ntrust.folder = "{trust}"\n'
            f'broker.host = "{broker.host}"\nbroker.port = {broker.port}\n',
            encoding="utf-8",
        )
        run_agent_command(config, "install", str(package))
        image = np.zeros((8, 8), np.uint8)
        image[1:7, 3:5] = 255
        Image.fromarray(image).save(tmp_path / "one.png")
        np.save(tmp_path / "one.npy", (image / np.float32(255)).astype(np.float32).reshape(1, 1, 8, 8))
        with listener(broker, device="pi-infer") as heard, running_agent(config):
            heard.wait_for(heard.topics.model_state("digits"), health="ready")
            by_image = json.loads(infer(broker, tmp_path / "one.png", "--json"))
            by_tensor = json.loads(infer(broker, tmp_path / "one.npy", "--json"))
        outputs = {output["name"]: output["data"] for output in by_image["outputs"]}
        (scores,) = (output["data"] for output in by_tensor["outputs"])
        assert len(outputs["labels"]) == 5
        assert int(outputs["labels"][0]) == int(np.argmax(scores))


def infer(broker: Broker, file: Path, *options: str) -> str:
    command = [sys.executable, "-m", "drupelet_host", "infer", "digits", str(file), "--device", "pi-infer"]
    result = subprocess.run(
        [*command, "--broker", broker.url, *options], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
