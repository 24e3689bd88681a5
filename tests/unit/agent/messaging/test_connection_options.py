"""The options of a connection as the section `[broker]` of the configuration gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_agent.config.broker import BrokerConfig, TlsConfig
from drupelet_agent.errors import ConfigError, ConfigReason
from drupelet_agent.messaging.broker import connection_options
from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.options import ConnectionOptions
from support.broker.certificates import Authority

WILL = Publication("drupelet/v1/pi/status", b"{}", retain=True)


def options(config: BrokerConfig, **others: object) -> ConnectionOptions:
    return connection_options(config, client_id="pi", receive_maximum=7, max_packet_bytes=1000, **others)  # type: ignore[arg-type]


def test_they_hold_the_values_of_the_section_and_of_the_session() -> None:
    config = BrokerConfig(host="broker", port=2000, keepalive_s=9, session_expiry_s=60, will_delay_s=5)
    assert options(config, will=WILL, max_pending_bytes=50) == ConnectionOptions(
        host="broker",
        port=2000,
        client_id="pi",
        keepalive_s=9,
        session_expiry_s=60,
        receive_maximum=7,
        max_packet_bytes=1000,
        max_pending_bytes=50,
        will=WILL,
        will_delay_s=5,
    )


def test_sixteen_mebibytes_may_be_pending_by_default() -> None:
    assert options(BrokerConfig()).max_pending_bytes == 16 * 2**20


@pytest.mark.parametrize("expiry_s", [0, 7])
def test_a_session_may_expire_earlier_than_configured(expiry_s: int) -> None:
    assert options(BrokerConfig(session_expiry_s=300), session_expiry_s=expiry_s).session_expiry_s == expiry_s


class TestPassword:
    def test_it_is_the_content_of_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "password"
        path.write_bytes("grüße\n".encode())
        made = options(BrokerConfig(username="pi", password_file=path))
        assert (made.username, made.password) == ("pi", "grüße".encode())
        assert "grüße" not in repr(made)
        assert "xc3" not in repr(made)

    def test_a_user_without_a_password_file_has_none(self) -> None:
        assert options(BrokerConfig(username="pi")).password is None

    def test_without_a_user_the_file_is_not_read(self, tmp_path: Path) -> None:
        assert options(BrokerConfig(password_file=tmp_path / "missing")).password is None

    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="missing"):
            options(BrokerConfig(username="pi", password_file=tmp_path / "missing"))


class TestTls:
    def test_without_the_section_the_connection_is_plain(self) -> None:
        assert options(BrokerConfig()).tls is None

    def test_the_context_holds_the_certificates_of_the_section(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        device = authority.issue("pi")
        section = TlsConfig(ca_file=authority.ca_file, cert_file=device.cert_file, key_file=device.key_file)
        context = options(BrokerConfig(tls=section)).tls
        assert context is not None
        assert [dict(item[0] for item in ca["subject"]) for ca in context.get_ca_certs()] == [{"commonName": "ca"}]  # type: ignore[index, misc]

    def test_files_that_cannot_be_read_are_named(self, tmp_path: Path) -> None:
        section = TlsConfig(ca_file=tmp_path / "missing.pem")
        with pytest.raises(ConfigError, match=r"broker credentials .*missing\.pem: ") as raised:
            options(BrokerConfig(tls=section))
        assert raised.value.reason is ConfigReason.TLS_FILES

    def test_a_credential_that_systemd_did_not_pass_is_told_apart(self) -> None:
        section = TlsConfig(ca_file=Path("$CREDENTIALS_DIRECTORY/ca.pem"))
        with pytest.raises(ConfigError) as raised:
            options(BrokerConfig(tls=section))
        assert raised.value.reason is ConfigReason.CREDENTIAL
