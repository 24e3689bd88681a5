"""`drupelet profile` against the real agent, whose sandboxed worker measures with the engine's own profiler."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.agent.agents import running_agent
from support.agent.sites import Site, make_site
from support.broker.brokers import Broker
from support.package.served_packages import LITERT_VARIANT, VARIANT, make_package, slow_model


@dataclass(frozen=True)
class Served:
    """A device that serves `digits`, and where."""

    site: Site
    broker: Broker
    temporary: Path

    def profile(self, *options: str, model: str = "digits", status: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "drupelet_host", "profile", model, "--device", self.site.topics.device]
        command += ["--broker", self.broker.url, *options]
        result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert result.returncode == status, result.stderr
        return result


@pytest.fixture(scope="module")
def served(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    site = make_site(tmp_path_factory.mktemp("site"))
    config = site.configure(embedded)
    site.install(config, model=slow_model(products=6, size=128))
    temporary = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch, site.listener(embedded) as heard:
        patch.setenv("TMPDIR", str(temporary))
        with running_agent(config):
            patch.undo()
            heard.wait_for(site.topics.model_state("digits"), health="ready")
            yield Served(site, embedded, temporary)


def test_operators_are_timed_and_listed(served: Served, tmp_path: Path) -> None:
    page = tmp_path / "profile.html"
    result = served.profile("--runs", "7", "--top", "4", "--html", str(page))
    assert "ort-fp32, onnxruntime " in result.stdout
    assert "1 thread, 7 inferences recorded" in result.stdout
    assert result.stdout.split().count("MatMul") >= 4
    assert "and 7 more; --top N shows more" in result.stdout
    assert "MatMul_4" in page.read_text(encoding="utf-8")


def test_json_has_every_operator(served: Served) -> None:
    (answer,) = json.loads(served.profile("--json").stdout)
    report = answer["result"]
    assert answer["ok"]
    assert (report["variant"], report["engine"], report["runs"]) == (VARIANT, "onnxruntime", 30)
    assert [operator["type"] for operator in report["operators"]] == ["Flatten", "MatMul", "Add", *["MatMul"] * 8]
    assert 0 < sum(operator["self_ms"] for operator in report["operators"]) <= report["mean_ms"]
    assert list(served.temporary.iterdir()) == [], "the engine's own files are gone"


def test_what_cannot_be_profiled_says_why(served: Served) -> None:
    assert "manifest_invalid" in served.profile("--variant", "ort-int4", status=1).stderr
    assert "not_installed" in served.profile(model="nothing", status=1).stderr


def test_wrong_usage_is_exit_status_2(served: Served) -> None:
    assert "--html needs exactly one device" in served.profile("--device", "pi-2", "--html", "x.html", status=2).stderr
    assert "--runs" in served.profile("--runs", "0", status=2).stderr


@pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="LiteRT is not installed")
def test_litert_says_that_it_does_not_tell_and_names_what_does(embedded: Broker, tmp_path: Path) -> None:
    site = make_site(tmp_path)
    config = site.configure(embedded)
    package = make_package(site.folder, site.keys, variants=(VARIANT, LITERT_VARIANT))
    subprocess.run(
        [sys.executable, "-m", "drupelet_agent", "--config", str(config), "install", str(package)], check=True
    )
    with site.listener(embedded) as heard, running_agent(config):
        heard.wait_for(site.topics.model_state("digits"), health="ready")
        served = Served(site, embedded, tmp_path)
        refused = served.profile("--variant", LITERT_VARIANT, status=1)
        taken = served.profile("--variant", VARIANT)
    assert "profiling_unavailable" in refused.stderr
    assert "a variant for onnxruntime can be profiled" in refused.stderr
    assert "MatMul" in taken.stdout or "Gemm" in taken.stdout
