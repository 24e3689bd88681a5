"""The commands of `drupelet-agent`: what each prints, and its exit code."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from drupelet_agent.cli import check, completion, doctor, install, list_models, plan, rollback, schema, tune
from drupelet_agent.errors import ConfigError, NoPreviousError, NotInstalledError
from drupelet_agent.store.store import Store
from drupelet_shared.errors import ArchiveError
from drupelet_shared.exit_codes import EXIT_FAILED, EXIT_OK
from support.agent.command_lines import run_command, write_agent_config
from support.agent.fleet_bench import install as put
from support.agent.values import make_activation
from support.broker.brokers import free_port
from support.package.served_packages import make_keys, make_package

QUICK = "tuning = { runs = 10, warmup = 1, threads = [1] }"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_agent_config(tmp_path, extra=f"broker.port = {free_port()}\n{QUICK}")


@pytest.fixture
def store(config: Path) -> Store:
    """A store with releases 1 and 2 of `digits`, of which 2 is active."""
    store = Store(config.parent / "state")
    store.create()
    for release in (1, 2):
        put(store, make_activation(release=release))
    return store


class TestList:
    @pytest.mark.usefixtures("store")
    def test_it_names_each_release_with_its_plan(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(list_models, config, "list") == EXIT_OK
        assert capsys.readouterr().out.splitlines() == [
            "digits 2.0.0 release 2: ort-fp32, 1 thread, p99 2.00 ms",
            "  before: 1.0.0 release 1",
        ]

    def test_without_models_it_says_how_to_install_one(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Store(config.parent / "state").create()
        assert run_command(list_models, config, "list") == EXIT_OK
        assert "drupelet-agent install PACKAGE" in capsys.readouterr().out

    @pytest.mark.usefixtures("store")
    def test_json_has_the_whole_records(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(list_models, config, "list", "--json") == EXIT_OK
        document = json.loads(capsys.readouterr().out)
        assert (document["digits"]["active"]["release"], document["digits"]["highest_release"]) == (2, 2)


class TestPlan:
    def test_it_prints_the_plan_the_reason_and_the_changes_latest_first(
        self, store: Store, config: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        activation = make_activation(release=2)
        changes = {"instances": 2, "threads": 4, "p99_bound_ms": 9.0, "throughput_per_s": 123.4}
        tuned = activation.model_copy(update={"plan": activation.plan.model_copy(update=changes)})
        with store.writer() as writer:
            writer.retune(tuned, why="hot")
        assert run_command(plan, config, "plan", "digits") == EXIT_OK
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "digits 2.0.0 release 2: 2 instances of ort-fp32, 4 threads, p99 2.00 ms"
        assert lines[1] == "  engine onnxruntime, 2 instance(s) of 4 thread(s), p50 1.00 ms"
        assert lines[2] == "  objective latency, p99 at most 9.00 ms, 123.4 inferences/s"
        assert lines[3] == "  memory 50.0 MB, of a budget of 0 B"
        assert lines[4] == "  measured"
        assert [line.split()[2] for line in lines[5:]] == ["tuned", "installed", "installed"]
        assert lines[5].endswith("hot")

    @pytest.mark.usefixtures("store")
    def test_json_has_the_plan_and_its_changes(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(plan, config, "plan", "digits", "--json") == EXIT_OK
        document = json.loads(capsys.readouterr().out)
        assert (document["threads"], [change["release"] for change in document["changes"]]) == (1, [1, 2])

    @pytest.mark.usefixtures("store")
    def test_a_model_that_is_not_installed_is_refused(self, config: Path) -> None:
        with pytest.raises(NotInstalledError, match="installed: digits"):
            run_command(plan, config, "plan", "faces")


class TestRollback:
    def test_the_release_before_is_active_again(
        self, store: Store, config: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run_command(rollback, config, "rollback", "digits") == EXIT_OK
        assert capsys.readouterr().out == "digits 1.0.0 release 1: ort-fp32, 1 thread, p99 2.00 ms is active again\n"
        assert store.active()["digits"].release == 1

    @pytest.mark.usefixtures("store")
    def test_json_has_the_release_that_is_active_now(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(rollback, config, "rollback", "digits", "--json") == EXIT_OK
        assert json.loads(capsys.readouterr().out)["release"] == 1

    def test_a_first_release_stays(self, store: Store, config: Path) -> None:
        put(store, make_activation("faces"))
        with pytest.raises(NoPreviousError):
            run_command(rollback, config, "rollback", "faces")


def test_a_package_that_is_damaged_is_named(config: Path) -> None:
    package = config.parent / "empty.drupe"
    package.touch()
    with pytest.raises(ArchiveError, match=r"package .*empty\.drupe: not an archive"):
        run_command(install, config, "install", str(package))


@pytest.mark.slow
def test_a_package_is_installed_checked_and_tuned(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = config.parent
    package = make_package(folder, make_keys(folder))
    assert run_command(install, config, "install", str(package)) == EXIT_OK
    printed = capsys.readouterr()
    assert printed.out.startswith("digits 1.0.0 release 1: ort-fp32, 1 thread, p99 ")
    assert printed.out.endswith(" ms is active\n")
    assert [line.split(":")[0] for line in printed.err.splitlines() if line.startswith(("verified", "active"))] == [
        "verified",
        "active",
    ]
    assert run_command(install, config, "install", str(package), "--json") == EXIT_OK
    assert json.loads(capsys.readouterr().out)["release"] == 1

    assert run_command(tune, config, "tune", "digits", "--json") == EXIT_OK
    assert json.loads(capsys.readouterr().out)["threads"] == 1
    assert run_command(tune, config, "tune", "digits") == EXIT_OK
    assert capsys.readouterr().out.startswith("digits 1.0.0 release 1: ")

    assert run_command(check, config, "check", "digits") == EXIT_OK
    assert "golden vectors kept" in capsys.readouterr().out
    strict = write_agent_config(folder, extra=f"{QUICK}\ncontract.p99_ms = 1e-6")
    assert run_command(check, strict, "check", "digits") == EXIT_FAILED
    assert "the contract allows" in capsys.readouterr().out
    assert run_command(check, strict, "check", "digits", "--json") == EXIT_FAILED
    assert json.loads(capsys.readouterr().out)["golden"] is True


def test_what_is_no_package_is_refused(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.drupe"
    path.write_bytes(b"no archive")
    make_keys(config.parent)
    with pytest.raises(ArchiveError):
        run_command(install, config, "install", str(path))


def test_tuning_and_checking_need_an_installed_model(config: Path) -> None:
    Store(config.parent / "state").create()
    for module, name in ((tune, "tune"), (check, "check")):
        with pytest.raises(NotInstalledError):
            run_command(module, config, name, "digits")


class TestDoctor:
    """Without a broker there is always something wrong."""

    def test_a_repair_that_is_needed_is_an_exit_code(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(doctor, config, "doctor") == EXIT_FAILED
        printed = capsys.readouterr().out
        assert "fail  broker: " in printed
        assert "      -> " in printed

    def test_json_has_each_finding(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(doctor, config, "doctor", "--json") == EXIT_FAILED
        findings = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
        assert findings["broker"]["status"] == "fail"


def test_a_configuration_with_faults_stops_every_command_that_reads_it(tmp_path: Path) -> None:
    config = write_agent_config(tmp_path, extra="colour = 'blue'")
    for module, words in [
        (list_models, ["list"]),
        (plan, ["plan", "x"]),
        (rollback, ["rollback", "x"]),
        (tune, ["tune", "x"]),
        (check, ["check", "x"]),
        (doctor, ["doctor"]),
    ]:
        with pytest.raises(ConfigError, match="colour"):
            run_command(module, config, *words)


class TestTools:
    """What shells and editors ask for reads no configuration."""

    def test_the_schema_knows_the_keys_of_the_configuration(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(schema, Path("/missing"), "schema") == EXIT_OK
        document = json.loads(capsys.readouterr().out)
        assert document["title"] == "drupelet-agent configuration"
        assert {"device", "broker", "limits"} <= document["properties"].keys()

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_a_completion_script_knows_commands_and_options(
        self, shell: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        whole = argparse.ArgumentParser(prog="drupelet-agent")
        whole.add_argument("--config", type=Path)
        completion.add(whole.add_subparsers(), whole)
        arguments = whole.parse_args(["completion", shell])
        assert arguments.command(arguments) == EXIT_OK
        script = capsys.readouterr().out
        assert "drupelet-agent" in script
        assert "completion" in script
        # fish names an option without its dashes.
        assert "config" in script
