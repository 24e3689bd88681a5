"""The agent's side of TLS: a client certificate from a credential, and what the doctor says of certificates."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from pathlib import Path

import pytest

from support.agent.agents import run_agent_command, running_agent, write_config
from support.broker.brokers import Broker, mosquitto_broker
from support.broker.certificates import Authority

pytestmark = [pytest.mark.mosquitto, pytest.mark.usefixtures("mosquitto")]


def tls_settings(authority: Authority) -> list[str]:
    server = authority.issue("server")
    files = [f"cafile {authority.ca_file}", f"certfile {server.cert_file}", f"keyfile {server.key_file}"]
    return [*files, "require_certificate true"]


def configure(folder: Path, broker: Broker, *, ca_file: Path, cert_file: str, key_file: str) -> Path:
    tls = f'broker.tls = {{ ca_file = "{ca_file}", cert_file = "{cert_file}", key_file = "{key_file}" }}'
    return write_config(folder, broker, device=f"pi-{uuid.uuid4().hex[:8]}", extra=tls)


def doctor(config: Path) -> dict[str, dict[str, str]]:
    told = run_agent_command(config, "doctor", "--json", check=False)
    return {finding["what"]: finding for finding in json.loads(told.stdout)}


def wait_for_log(log: Path, words: str) -> None:
    deadline = time.monotonic() + 20
    while words not in log.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.05)


def test_a_client_certificate_and_its_key_come_from_systemd_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    client = authority.issue("client")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    shutil.copy(client.cert_file, credentials / "cert")
    shutil.copy(client.key_file, credentials / "key")
    (credentials / "key").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    with mosquitto_broker(tmp_path, settings=tls_settings(authority)) as broker:
        config = configure(
            tmp_path,
            broker,
            ca_file=authority.ca_file,
            cert_file="$CREDENTIALS_DIRECTORY/cert",
            key_file="$CREDENTIALS_DIRECTORY/key",
        )
        with running_agent(config) as agent:
            wait_for_log(agent.log, "connected to")
        found = doctor(config)
        monkeypatch.delenv("CREDENTIALS_DIRECTORY")
        outside = doctor(config)
    for what in ("broker", "broker.tls.ca_file", "broker.tls.cert_file", "broker.tls.key_file"):
        assert found[what]["status"] == "ok", found[what]
    assert "valid from 2020-01-01 to 2100-01-01" in found["the broker's certificate"]["found"]
    assert outside["broker.tls.key_file"]["status"] == "note"
    assert outside["broker"]["status"] == "fail"
    assert "the service alone" in outside["broker"]["repair"]


def test_a_broker_of_another_authority_is_refused_and_the_doctor_names_the_file(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, name="stranger")
    client = authority.issue("client")
    with mosquitto_broker(tmp_path, settings=tls_settings(authority)) as broker:
        config = configure(
            tmp_path,
            broker,
            ca_file=stranger.ca_file,
            cert_file=str(client.cert_file),
            key_file=str(client.key_file),
        )
        with running_agent(config) as agent:
            wait_for_log(agent.log, "certificate verify failed")
        found = doctor(config)
    assert found["broker"]["status"] == "fail"
    assert "broker.tls.ca_file" in found["broker"]["repair"]
    # Its key was written for everybody to read.
    assert found["broker.tls.key_file"]["repair"] == f"chmod 600 {client.key_file}"


def test_a_client_certificate_that_is_missing_is_refused_with_a_mend(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with mosquitto_broker(tmp_path, settings=tls_settings(authority)) as broker:
        config = write_config(tmp_path, broker, extra=f'broker.tls.ca_file = "{authority.ca_file}"')
        found = doctor(config)
    assert found["broker"]["status"] == "fail"
    assert "client certificate" in found["broker"]["repair"]
