"""TLS, client certificates and passwords, against mosquitto."""

from __future__ import annotations

import gc
import shutil
import subprocess
from pathlib import Path

import pytest

from drupelet_host.client import BrokerAddress, DeviceClient, TlsOptions
from drupelet_host.errors import BrokerError
from drupelet_shared.errors import InvalidValueError
from fakes.device import NAME
from support.broker.brokers import mosquitto_broker
from support.broker.certificates import Authority

pytestmark = [pytest.mark.mosquitto, pytest.mark.usefixtures("mosquitto")]


def tls_settings(authority: Authority) -> list[str]:
    server = authority.issue("server")
    return [f"cafile {authority.ca_file}", f"certfile {server.cert_file}", f"keyfile {server.key_file}"]


def connect(port: int, tls: TlsOptions | None, **account: str) -> None:
    address = BrokerAddress("127.0.0.1", port, tls=tls, **account)
    with DeviceClient(NAME, broker=address, connect_timeout_s=5):
        pass


def test_a_broker_whose_certificate_is_trusted_is_used(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with mosquitto_broker(tmp_path, settings=tls_settings(authority)) as broker:
        connect(broker.port, TlsOptions(ca_file=authority.ca_file))


# paho-mqtt 2.2 leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_of_another_authority_is_refused(tmp_path: Path) -> None:
    stranger = Authority(tmp_path, name="stranger")
    with (
        mosquitto_broker(tmp_path, settings=tls_settings(Authority(tmp_path))) as broker,
        pytest.raises(BrokerError, match="its certificate is not accepted"),
    ):
        connect(broker.port, TlsOptions(ca_file=stranger.ca_file))
    gc.collect()


def test_a_client_certificate_opens_a_broker_that_asks_for_one(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.issue("client")
    settings = [*tls_settings(authority), "require_certificate true"]
    with mosquitto_broker(tmp_path, settings=settings) as broker:
        connect(broker.port, TlsOptions(authority.ca_file, client.cert_file, client.key_file))
        with pytest.raises(BrokerError, match="connection closed before it was accepted"):
            connect(broker.port, TlsOptions(authority.ca_file))


def test_unreadable_certificates_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"certificates .*missing\.pem"):
        connect(1, TlsOptions(ca_file=tmp_path / "missing.pem"))


def test_a_password_opens_an_account_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    tool = shutil.which("mosquitto_passwd")
    assert tool is not None
    passwords = tmp_path / "passwords"
    subprocess.run([tool, "-c", "-b", str(passwords), "anna", "secret"], check=True, capture_output=True)
    settings = ["allow_anonymous false", f"password_file {passwords}"]
    with mosquitto_broker(tmp_path, settings=settings) as broker:
        connect(broker.port, None, username="anna", password="secret")
        with pytest.raises(BrokerError, match="Not authorized") as raised:
            connect(broker.port, None, username="anna", password="wrong")
    assert "wrong" not in str(raised.value)
