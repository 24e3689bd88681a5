"""ncnn on the device: without it, beyond the memory limit, with a file that crashes it, and profiled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.agent.agents import run_agent_command, running_agent
from support.agent.asking import asker
from support.agent.sites import Site, worker_of
from support.broker.brokers import Broker
from support.model.ncnn_models import crash_ncnn, write_greedy_ncnn
from support.package.served_packages import NCNN_VARIANT, VARIANT, linear_weights, make_package

MB = 10**6
WITHOUT_NCNN = "import sys\nsys.modules['ncnn'] = None\n"


def request(*, height: int = 8) -> bytes:
    tensor = {"name": "image", "shape": [1, 1, height, 8], "datatype": "FP32", "data": [0.5] * 8 * height}
    return json.dumps({"inputs": [tensor]}).encode()


def test_a_device_without_ncnn_skips_its_variants_and_says_so_in_plan_and_state(
    site: Site, embedded: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.folder / "sitecustomize.py").write_text(WITHOUT_NCNN, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    config = site.configure(embedded)
    package = make_package(site.folder, site.keys, variants=(NCNN_VARIANT, VARIANT))
    run_agent_command(config, "install", str(package))
    line = f"skipped: {NCNN_VARIANT}: engine 'ncnn' is not installed"
    assert line in json.loads(run_agent_command(config, "plan", "digits", "--json").stdout)["reason"]
    with site.listener(embedded) as heard, running_agent(config):
        state = heard.wait_for(site.topics.model_state("digits"), health="ready", variant=VARIANT)
    assert line in state["plan"]["reason"]
    report = run_agent_command(config, "doctor", check=False).stdout
    assert "engine ncnn: engine 'ncnn' is not installed" in report
    assert "pip install ncnn, if a package needs it" in report


def test_a_package_for_ncnn_alone_is_refused_without_it(
    site: Site, embedded: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.folder / "sitecustomize.py").write_text(WITHOUT_NCNN, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    package = make_package(site.folder, site.keys, variants=(NCNN_VARIANT,))
    result = run_agent_command(site.configure(embedded), "install", str(package), check=False)
    assert result.returncode == 1
    assert f"no variant runs on this device: {NCNN_VARIANT} x1: engine 'ncnn' is not installed" in result.stderr


def test_an_allocation_of_ncnn_beyond_the_limit_fails_and_the_model_serves_on(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded, extra='limits.memory = "500MB"')
    package = make_package(
        site.folder, site.keys, variants=(NCNN_VARIANT,), write={NCNN_VARIANT: write_greedy_ncnn}, height=-1
    )
    run_agent_command(config, "install", str(package))
    topic = site.topics.infer("digits")
    with site.listener(embedded) as heard, running_agent(config) as agent, asker(embedded) as ask:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        # 40 MB, 2 GB, 40 GB, and again what fitted before.
        for height, code in ((8, "ok"), (400, "inference_failed"), (8000, "inference_failed"), (8, "ok")):
            reply = ask.ask(topic, request(height=height))
            assert reply.user_properties["code"] == code, reply.json
            assert code == "ok" or "out of memory" in reply.json["error"]
        assert 0 < worker_of(agent.process.pid).memory_info().rss < 500 * MB


def test_a_file_that_crashes_ncnn_costs_its_worker_and_another_variant_serves(site: Site, embedded: Broker) -> None:
    config = site.configure(embedded)
    package = make_package(site.folder, site.keys, variants=(NCNN_VARIANT, VARIANT), spoil={NCNN_VARIANT: crash_ncnn})
    activation = json.loads(run_agent_command(config, "install", str(package), "--json").stdout)
    assert activation["variant"] == VARIANT
    assert f"skipped: {NCNN_VARIANT}: " in activation["plan"]["reason"]
    image = np.full((1, 1, 8, 8), 0.5, np.float32)
    with site.listener(embedded) as heard, running_agent(config) as agent, site.client(embedded) as client:
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        scores = client.infer("digits", {"image": image}, timeout_s=20).outputs["scores"]
        assert agent.stop() == 0
    np.testing.assert_allclose(scores, image.reshape(1, 64) @ linear_weights(), atol=1e-4)


def test_the_profile_of_an_ncnn_variant_has_every_layer(site: Site, embedded: Broker, tmp_path: Path) -> None:
    config = site.configure(embedded)
    package = make_package(
        site.folder, site.keys, variants=(NCNN_VARIANT,), write={NCNN_VARIANT: write_greedy_ncnn}, height=-1
    )
    run_agent_command(config, "install", str(package))
    page = tmp_path / "profile.html"
    with site.listener(embedded) as heard, running_agent(config):
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        command = [sys.executable, "-m", "drupelet_host", "profile", "digits", "--device", site.topics.device]
        command += ["--broker", embedded.url, "--runs", "5", "--json", "--html", str(page)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    (answer,) = json.loads(result.stdout)
    report = answer["result"]
    assert (report["variant"], report["engine"], report["runs"]) == (NCNN_VARIANT, "ncnn", 5)
    types = ["Split", "Pooling", "InnerProduct", "Tile", "Reduction", "BinaryOp", "BinaryOp"]
    assert [operator["type"] for operator in report["operators"]] == types
    longest = max(report["operators"], key=lambda operator: operator["self_ms"])
    assert longest["type"] in {"Tile", "Reduction"}
    assert 0 < sum(operator["self_ms"] for operator in report["operators"]) <= 1.5 * report["mean_ms"]
    assert "Reduction" in page.read_text(encoding="utf-8")
