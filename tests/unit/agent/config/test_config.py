"""The agent's configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_agent.config.loader import load_config
from drupelet_agent.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, 'device = "pi-7"'))
    assert config.device == "pi-7"
    assert config.broker.port == 1883
    assert not config.trust.allow_unsigned


def test_sizes_are_read_as_people_write_them(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, '[limits]\nmemory = "512MB"\nmax_payload = "2 MiB"'))
    assert config.limits.memory == 512_000_000
    assert config.limits.max_payload == 2 * 2**20


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    text = """
        state_dir = "state"
        trust = { folder = "keys" }
        broker = { password_file = "secret", tls = { ca_file = "ca.pem" } }
    """
    config = load_config(write(tmp_path, text))
    assert config.state_dir == tmp_path / "state"
    assert config.trust.folder == tmp_path / "keys"
    assert config.broker.password_file == tmp_path / "secret"
    assert config.broker.tls is not None
    assert config.broker.tls.ca_file == tmp_path / "ca.pem"


def test_every_fault_is_reported_at_once_with_its_key_and_value(tmp_path: Path) -> None:
    text = 'device = "a/b"\nstate_dirr = "x"\n[broker]\nport = 99999\n[limits]\nmemory = "lots"\nqueue = 3'
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    message = str(caught.value)
    for expected in ("device = 'a/b'", "state_dirr: unknown key", "broker.port = 99999", "limits.memory = 'lots'"):
        assert expected in message
    assert "state_dirr: unknown key; did you mean 'state_dir'?" in message
    assert "limits.queue: unknown key; allowed are memory, memory_share, cpu_cores" in message


def test_labels_are_names_with_values_and_malformed_ones_are_named(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, '[labels]\nsite = "berlin"\nboard = "pi4"')).labels == {
        "site": "berlin",
        "board": "pi4",
    }
    for line in ('"a b" = "x"', 'site = "a b"', "site = 1", 'site = ""'):
        with pytest.raises(ConfigError, match="labels"):
            load_config(write(tmp_path, f"[labels]\n{line}"))
    many = "\n".join(f'l{number} = "x"' for number in range(17))
    with pytest.raises(ConfigError, match=r"labels: .*16"):
        load_config(write(tmp_path, f"[labels]\n{many}"))


def test_an_unknown_key_in_the_tls_section_names_the_keys_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"broker\.tls\.ca: unknown key; allowed are ca_file, cert_file, key_file"):
        load_config(write(tmp_path, '[broker.tls]\nca = "x"'))


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cert_file and key_file go together"):
        load_config(write(tmp_path, '[broker.tls]\ncert_file = "c.pem"'))


@pytest.mark.parametrize("text", ["not toml", "device = \x00"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"agent\.toml"):
        load_config(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")


def test_the_sections_of_log_and_telemetry_have_defaults_and_limits(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, ""))
    assert (config.log.level, config.log.format) == ("info", "text")
    assert config.telemetry.prometheus_port is None
    text = '[log]\nformat = "xml"\n[telemetry]\nprometheus_port = 0\n[telemetry.events]\nerror_rate = 5\nlatency = 1'
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    for expected in ("log.format = 'xml'", "telemetry.prometheus_port = 0", "telemetry.events.error_rate = 5"):
        assert expected in str(caught.value)
    assert "telemetry.events.latency: unknown key; did you mean 'latency_p99_ms'?" in str(caught.value)


def test_one_model_may_have_another_objective_and_contract(tmp_path: Path) -> None:
    text = """
        device = "pi-7"
        tuning.max_p99_ms = 20
        contract.factor = 4
        [models.digits]
        objective = "throughput"
        contract = { p99_ms = 50 }
    """
    config = load_config(write(tmp_path, text))
    assert (config.tuning_of("digits").objective, config.tuning_of("faces").objective) == ("throughput", "latency")
    assert config.tuning_of("digits").max_p99_ms == 20
    assert config.contract_of("digits").p99_limit_ms(5.0) == 50
    assert config.contract_of("faces").p99_limit_ms(5.0) == 20


def test_the_stricter_of_two_latency_limits_counts(tmp_path: Path) -> None:
    contract = load_config(write(tmp_path, 'device = "pi-7"\ncontract = { p99_ms = 50, factor = 4 }')).contract
    assert (contract.p99_limit_ms(5.0), contract.p99_limit_ms(40.0)) == (20.0, 50.0)


def test_an_unknown_key_of_a_model_is_named_with_those_allowed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"models\.digits\.objektive: unknown key; did you mean 'objective'\?"):
        load_config(write(tmp_path, 'device = "pi-7"\nmodels.digits.objektive = "latency"'))


@pytest.mark.parametrize("text", ["broker.port = true", "broker.port = 1883.0", 'broker.port = "1883"'])
def test_a_value_of_another_type_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"broker\.port = .*: input should be a valid integer"):
        load_config(write(tmp_path, text))


@pytest.mark.parametrize("number", ["inf", "nan"])
def test_a_number_that_is_not_finite_is_refused(tmp_path: Path, number: str) -> None:
    with pytest.raises(ConfigError, match=r"telemetry\.interval_s = "):
        load_config(write(tmp_path, f"telemetry.interval_s = {number}"))


def test_a_model_whose_name_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"models\.a b"):
        load_config(write(tmp_path, '[models."a b"]'))
