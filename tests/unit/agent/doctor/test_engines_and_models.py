"""What the doctor says of engines, of installed models, and in which order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.doctor.engines import examine_engines
from drupelet_agent.doctor.examination import examine
from drupelet_agent.doctor.findings import Finding
from drupelet_agent.store.store import Store
from drupelet_shared.engines.registry import ENGINES, load_engine
from drupelet_shared.package.manifest import MANIFEST_PATH
from support.agent.fleet_bench import install, make_config
from support.agent.values import make_activation
from support.broker.brokers import free_port
from support.package.packages import FILES, make_manifest


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    return make_config(tmp_path, broker={"host": "127.0.0.1", "port": free_port()})


def findings(config: AgentConfig) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine_engines(config)}


def put_model(config: AgentConfig, *, min_version: str = "1.0") -> Path:
    """Install a model whose package has a manifest, and return the manifest's path."""
    store = Store(config.state_dir)
    store.create()
    activation = make_activation()
    install(store, activation)
    manifest = json.loads(make_manifest(FILES).model_dump_json(by_alias=True))
    manifest["variants"][0]["engine_min_version"] = min_version
    path = store.package_folder(activation.digest) / MANIFEST_PATH
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return path


def test_each_engine_is_named_with_its_version(config: AgentConfig) -> None:
    seen = findings(config)
    for name in ENGINES:
        assert seen[f"engine {name}"] == Finding(f"engine {name}", "ok", load_engine(name).version)


def test_an_active_model_is_named_with_its_engine(config: AgentConfig) -> None:
    put_model(config)
    finding = findings(config)["model digits"]
    version = load_engine("onnxruntime").version
    assert finding.status == "ok"
    assert finding.found == f"1.0.0 release 1, ort-fp32 on onnxruntime {version} (needs 1.0)"


def test_a_model_that_needs_a_newer_engine_fails_with_the_command_that_installs_it(config: AgentConfig) -> None:
    put_model(config, min_version="999.0")
    finding = findings(config)["model digits"]
    assert finding.status == "fail"
    assert "999.0" in finding.found
    assert finding.repair.startswith("pip install --upgrade onnxruntime")


def test_a_damaged_package_fails(config: AgentConfig) -> None:
    put_model(config).write_text("{", encoding="utf-8")
    finding = findings(config)["model digits"]
    assert (finding.status, finding.repair) == ("fail", "install the package again")
    assert finding.found.startswith("its package is damaged: ")


def test_a_damaged_record_fails_for_all_models(config: AgentConfig) -> None:
    put_model(config)
    Store(config.state_dir).layout.record("digits").write_text("{", encoding="utf-8")
    assert findings(config)["models"].status == "fail"


def test_the_examination_covers_every_part_and_ends_with_the_broker(config: AgentConfig) -> None:
    names = [finding.what for finding in examine(config)]
    assert len(set(names)) == len(names)
    for name in ("store", "trust", "engine onnxruntime", "clock", "broker"):
        assert name in names
    assert names.index("store") < names.index("engine onnxruntime") < names.index("clock") < names.index("broker")


class TestFinding:
    def test_a_finding_is_one_line_and_a_repair_another(self) -> None:
        assert str(Finding("clock", "ok", "synchronised")) == "ok    clock: synchronised"
        assert str(Finding("clock", "warn", "wrong", "set it")) == "warn  clock: wrong\n      -> set it"

    @pytest.mark.parametrize(("status", "wrong"), [("ok", False), ("note", False), ("warn", True), ("fail", True)])
    def test_warnings_and_failures_are_wrong(
        self,
        status: str,
        wrong: bool,  # noqa: FBT001 - a parameter of the test
    ) -> None:
        assert Finding("x", status, "y").is_wrong is wrong  # type: ignore[arg-type]

    def test_json_has_the_same_parts(self) -> None:
        assert Finding("clock", "warn", "wrong", "set it").as_json() == {
            "what": "clock",
            "status": "warn",
            "found": "wrong",
            "repair": "set it",
        }
