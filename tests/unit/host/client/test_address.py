from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_host.client import BrokerAddress, TlsOptions, parse_broker_url
from drupelet_host.client.connection.address import read_password
from drupelet_shared.errors import InvalidValueError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://pi.local", BrokerAddress("pi.local", 1883)),
        ("mqtt://pi.local:2000/", BrokerAddress("pi.local", 2000)),
        ("mqtts://anna@pi.local", BrokerAddress("pi.local", 8883, username="anna", tls=TlsOptions())),
        ("mqtt://[::1]:1883", BrokerAddress("::1", 1883)),
    ],
)
def test_a_url_says_host_port_user_and_tls(url: str, address: BrokerAddress) -> None:
    assert parse_broker_url(url) == address


@pytest.mark.parametrize(
    "url", ["pi.local", "http://pi.local", "mqtt://", "mqtt://h/path", "mqtt://h:x", "mqtt://h:99999"]
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidValueError, match="broker"):
        parse_broker_url(url)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidValueError, match="put the password in a file") as raised:
        parse_broker_url("mqtts://anna:secret@pi.local")
    assert "secret" not in str(raised.value)


def test_certificates_need_tls_and_a_password_needs_a_user() -> None:
    with pytest.raises(InvalidValueError, match="certificates need an mqtts:// URL"):
        parse_broker_url("mqtt://h", tls=TlsOptions(ca_file=Path("ca.pem")))
    with pytest.raises(InvalidValueError, match="a password needs a user"):
        parse_broker_url("mqtt://h", password="p")


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(parse_broker_url("mqtt://anna@h", password="secret"))


def test_a_password_comes_from_the_first_line_of_a_file_or_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("from file\nsecond line\n")
    monkeypatch.setenv("DRUPELET_PASSWORD", "from environment")
    assert read_password(tmp_path / "password") == "from file"
    assert read_password(None) == "from environment"
    with pytest.raises(InvalidValueError, match="missing: "):
        read_password(tmp_path / "missing")
