"""`drupelet-agent install`, `list`, `rollback` and `doctor` on real packages, good and bad."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.agent.agents import run_agent_command, write_config
from support.broker.brokers import LOOPBACK, Broker, free_port
from support.package.served_packages import Keys, endless_model, make_keys, make_package


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    found = make_keys(tmp_path)
    (tmp_path / "trust").mkdir()
    shutil.copy(found.public, tmp_path / "trust")
    return found


@pytest.fixture
def nowhere() -> Broker:
    """A broker that is not there; installing needs none."""
    port = free_port()
    return Broker(host=LOOPBACK, port=port, port_311=port, kind="mosquitto")


@pytest.fixture
def config(tmp_path: Path, keys: Keys, nowhere: Broker) -> Path:
    assert keys.public.exists()
    return write_config(tmp_path, nowhere)


def stored(folder: Path) -> list[str]:
    """Everything in the store but its empty folders and its lock."""
    state = folder / "state"
    return sorted(str(path.relative_to(state)) for path in state.rglob("*") if path.is_file() and path.name != "lock")


def test_an_installed_package_is_listed_with_what_was_measured(tmp_path: Path, keys: Keys, config: Path) -> None:
    result = run_agent_command(config, "install", str(make_package(tmp_path, keys)), "--json")
    activation = json.loads(result.stdout)
    assert activation["variant"] == "ort-fp32"
    assert activation["plan"]["p99_ms"] > 0
    assert activation["plan"]["footprint_bytes"] > 10_000_000
    assert activation["signed_by"]
    assert json.loads(run_agent_command(config, "list", "--json").stdout)["digits"]["active"] == activation
    assert "digits 1.0.0 release 1: ort-fp32" in run_agent_command(config, "list").stdout


def test_the_plan_of_a_model_and_its_reason_can_be_read(tmp_path: Path, keys: Keys, config: Path) -> None:
    run_agent_command(config, "install", str(make_package(tmp_path, keys)))
    text = run_agent_command(config, "plan", "digits").stdout
    assert "1 instance(s) of 1 thread(s)" in text
    assert "lowest p99 of those that fit" in text
    assert json.loads(run_agent_command(config, "plan", "digits", "--json").stdout)["threads"] == 1
    assert "[not_installed]" in run_agent_command(config, "plan", "faces", check=False).stderr


def truncate(package: Path) -> None:
    package.write_bytes(package.read_bytes()[:-200])


def alter(package: Path) -> None:
    data = bytearray(package.read_bytes())
    data[len(data) // 2] ^= 1
    package.write_bytes(data)


def drop_signature(package: Path) -> None:
    whole = package.with_suffix(".whole")
    package.rename(whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            if entry.filename != "model.sig":
                target.writestr(entry, source.read(entry))


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (truncate, "archive_invalid"),
        (drop_signature, "signature_missing"),
        (alter, None),
        (Path.unlink, "archive_invalid"),
    ],
    ids=["truncated", "unsigned", "altered", "absent"],
)
def test_a_bad_package_is_refused_and_leaves_nothing(
    tmp_path: Path, keys: Keys, config: Path, damage: Callable[[Path], None], code: str | None
) -> None:
    package = make_package(tmp_path, keys)
    damage(package)
    result = run_agent_command(config, "install", str(package), check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ") or "\nerror: " in result.stderr
    assert code is None or f"[{code}]" in result.stderr
    assert stored(tmp_path) == []


def test_a_strangers_signature_is_refused(tmp_path: Path, config: Path) -> None:
    stranger = make_keys(tmp_path, "stranger")
    result = run_agent_command(config, "install", str(make_package(tmp_path, stranger)), check=False)
    assert result.returncode == 1
    assert "[signature_untrusted]" in result.stderr
    assert stored(tmp_path) == []


def test_an_unsigned_package_is_taken_only_with_a_loud_flag(tmp_path: Path, nowhere: Broker) -> None:
    config = write_config(tmp_path, nowhere, extra="trust.allow_unsigned = true")
    result = run_agent_command(config, "install", str(make_package(tmp_path, None)))
    assert "signatures are NOT checked" in result.stderr


def test_outputs_that_differ_from_the_golden_vectors_keep_the_old_release(
    tmp_path: Path, keys: Keys, config: Path
) -> None:
    run_agent_command(config, "install", str(make_package(tmp_path, keys)))
    before = stored(tmp_path)
    result = run_agent_command(
        config, "install", str(make_package(tmp_path, keys, release=2, golden_error=1.0)), check=False
    )
    assert result.returncode == 1
    assert "outputs differ from the golden vectors" in result.stderr
    assert "[no_usable_variant]" in result.stderr
    assert stored(tmp_path) == before


def test_a_model_that_needs_more_than_the_budget_is_refused_unloaded_with_both_numbers(
    tmp_path: Path, keys: Keys, nowhere: Broker
) -> None:
    config = write_config(tmp_path, nowhere, extra='limits.memory = "300MB"')
    package = make_package(tmp_path, keys, peak_memory_bytes=900_000_000)
    result = run_agent_command(config, "install", str(package), check=False)
    assert "needs 900.0 MB, the memory budget leaves 262.5 MB (limits.memory)" in result.stderr
    assert "[memory_budget_exceeded]" in result.stderr
    assert "measured:" not in result.stderr


def test_a_worker_that_outgrows_the_budget_is_stopped_by_the_agent(tmp_path: Path, keys: Keys, nowhere: Broker) -> None:
    config = write_config(tmp_path, nowhere, extra='limits.memory = "20MB"')
    result = run_agent_command(config, "install", str(make_package(tmp_path, keys)), check=False)
    assert result.returncode == 1
    assert "the engine of ort-fp32 alone holds" in result.stderr
    assert "the limit is 17.5 MB" in result.stderr
    assert "[memory_budget_exceeded]" in result.stderr
    assert stored(tmp_path) == []


def test_an_older_release_needs_an_explicit_rollback(tmp_path: Path, keys: Keys, config: Path) -> None:
    for release in (1, 2):
        run_agent_command(config, "install", str(make_package(tmp_path, keys, release=release)))
    refused = run_agent_command(config, "install", str(make_package(tmp_path, keys, release=1)), check=False)
    assert "[release_too_old]" in refused.stderr
    assert "digits 1.0.0 release 1" in run_agent_command(config, "rollback", "digits").stdout
    assert json.loads(run_agent_command(config, "list", "--json").stdout)["digits"]["active"]["release"] == 1


def test_rolling_back_what_is_not_installed_names_it(config: Path) -> None:
    result = run_agent_command(config, "rollback", "faces", check=False)
    assert result.returncode == 1
    assert "model 'faces' is not installed; installed: none [not_installed]" in result.stderr


def test_the_doctor_finds_nothing_wrong_where_nothing_is(tmp_path: Path, keys: Keys, broker: Broker) -> None:
    assert keys.public.exists()
    config = write_config(tmp_path, broker)
    findings = {
        finding["what"]: finding for finding in json.loads(run_agent_command(config, "doctor", "--json").stdout)
    }
    for what in ("store", "trust", "engine onnxruntime", "memory", "broker"):
        assert findings[what]["status"] == "ok", findings[what]


def test_the_doctor_names_each_fault_and_its_mend(tmp_path: Path, nowhere: Broker) -> None:
    config = write_config(tmp_path, nowhere, extra='limits.memory = "10MB"')
    shutil.rmtree(tmp_path / "trust")
    result = run_agent_command(config, "doctor", check=False)
    assert result.returncode == 1
    assert "fail  trust:" in result.stdout
    assert "drupelet keygen" in result.stdout
    assert "fail  memory:" in result.stdout
    assert f"fail  broker: broker {LOOPBACK}:{nowhere.port}" in result.stdout


def test_a_configuration_with_faults_is_refused_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("[broker]\nport = 0\nhots = 'x'\n", encoding="utf-8")
    result = run_agent_command(path, "run", check=False)
    assert result.returncode == 1
    assert "broker.port = 0" in result.stderr
    assert "broker.hots: unknown key" in result.stderr


def make_endless(model: Path) -> None:
    model.write_bytes(endless_model())


def test_a_graph_that_never_ends_holds_an_installation_no_longer_than_configured(
    tmp_path: Path, keys: Keys, nowhere: Broker
) -> None:
    config = write_config(tmp_path, nowhere, extra="tuning.total_seconds = 4")
    package = make_package(
        tmp_path,
        keys,
        variants=[f"endless-{number}" for number in range(12)],
        # They are one file.
        spoil={"endless-0": make_endless},
    )
    result = run_agent_command(config, "install", str(package), check=False)
    assert result.returncode == 1
    assert "no_usable_variant" in result.stderr
    assert "its 4 s for loading, checking and measuring (tuning.total_seconds)" in result.stderr
    assert stored(tmp_path) == []
