"""Secrets: where they come from, and where they never show."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from drupelet_agent.config.credentials import Secret, read_secret
from drupelet_agent.config.loader import load_config
from drupelet_agent.errors import ConfigError

PASSWORD = "hunter2 with spaces "


def config_file(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(f'device = "pi"\n{text}', encoding="utf-8")
    return path


def test_a_secret_is_the_file_without_the_lines_end(tmp_path: Path) -> None:
    path = tmp_path / "password"
    for end in ("", "\n", "\r\n"):
        path.write_bytes((PASSWORD + end).encode())
        assert read_secret(path).reveal() == PASSWORD


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(PASSWORD)
    for shown in (repr(secret), str(secret), f"{secret}", f"{[secret]}"):
        assert "hunter2" not in shown
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("data", [b"", b"x" * 65_537, b"hunter2 \xff"])
def test_a_file_that_holds_no_secret_is_refused_without_its_content(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=str(path)) as raised:
        read_secret(path)
    shown = "".join(traceback.format_exception(raised.value, chain=True)) + repr(raised.value.__cause__)
    assert "hunter2" not in shown
    assert "xxx" not in shown


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"secret .*nowhere: No such file"):
        read_secret(tmp_path / "nowhere")


def test_a_systemd_credential_is_found_where_systemd_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/drupelet-agent.service")
    text = """
        [broker]
        password_file = "$CREDENTIALS_DIRECTORY/password"
        tls = { ca_file = "ca.pem", cert_file = "$CREDENTIALS_DIRECTORY/cert", key_file = "$CREDENTIALS_DIRECTORY/key" }
    """
    broker = load_config(config_file(tmp_path, text)).broker
    folder = Path("/run/credentials/drupelet-agent.service")
    assert broker.password_file == folder / "password"
    assert broker.tls is not None
    assert (broker.tls.cert_file, broker.tls.key_file) == (folder / "cert", folder / "key")
    assert broker.tls.ca_file == tmp_path / "ca.pem"


def test_without_systemd_a_credential_keeps_its_name_and_only_reading_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    path = load_config(config_file(tmp_path, 'broker.password_file = "$CREDENTIALS_DIRECTORY/password"'))
    assert path.broker.password_file == Path("$CREDENTIALS_DIRECTORY/password")
    with pytest.raises(ConfigError, match=r"secret \$CREDENTIALS_DIRECTORY/password: No such file"):
        read_secret(path.broker.password_file)


def test_a_configuration_holds_no_secret(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD, encoding="utf-8")
    config = load_config(config_file(tmp_path, 'broker = { username = "pi", password_file = "password" }'))
    assert "hunter2" not in repr(config)
    assert "hunter2" not in config.model_dump_json()
