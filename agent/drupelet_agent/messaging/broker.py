"""The options of an MQTT connection from the configuration's `[broker]` section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drupelet_agent.config.broker import BrokerConfig, TlsConfig
from drupelet_agent.config.credentials import read_secret
from drupelet_agent.config.environment import is_missing_credential
from drupelet_agent.errors import ConfigError, ConfigReason
from drupelet_agent.mqtt.message import Publication
from drupelet_agent.mqtt.options import ConnectionOptions
from drupelet_shared.transport import make_tls_context

if TYPE_CHECKING:
    from ssl import SSLContext

_PENDING_BYTES = 16 * 2**20


def connection_options(
    config: BrokerConfig,
    *,
    client_id: str,
    receive_maximum: int,
    max_packet_bytes: int,
    max_pending_bytes: int = _PENDING_BYTES,
    session_expiry_s: int | None = None,
    will: Publication | None = None,
) -> ConnectionOptions:
    """Return the options of one connection to the configured broker.

    Args:
        config: The `[broker]` section.
        client_id: Identifies the session at the broker.
        receive_maximum: How many QoS 1 messages the broker may send before the agent has acknowledged the first.
        max_packet_bytes: The largest packet that is read.
        max_pending_bytes: How many bytes may be unsent or unacknowledged.
        session_expiry_s: Seconds for which the broker keeps the session; the configured value by default.
        will: Published by the broker when the connection is lost, after the configured delay.

    Raises:
        ConfigError: The password file or a TLS file cannot be read.
    """
    return ConnectionOptions(
        host=config.host,
        port=config.port,
        client_id=client_id,
        username=config.username,
        password=_read_password(config),
        tls=None if config.tls is None else _make_context(config.tls),
        keepalive_s=config.keepalive_s,
        session_expiry_s=config.session_expiry_s if session_expiry_s is None else session_expiry_s,
        receive_maximum=receive_maximum,
        max_packet_bytes=max_packet_bytes,
        max_pending_bytes=max_pending_bytes,
        will=will,
        will_delay_s=config.will_delay_s,
    )


def _read_password(config: BrokerConfig) -> bytes | None:
    if config.username is None or config.password_file is None:
        return None
    return read_secret(config.password_file).reveal().encode()


def _make_context(tls: TlsConfig) -> SSLContext:
    try:
        return make_tls_context(ca_file=tls.ca_file, cert_file=tls.cert_file, key_file=tls.key_file)
    except OSError as error:
        # OpenSSL's messages do not name the file.
        files = [path for _, path in tls if path is not None]
        reason = ConfigReason.CREDENTIAL if any(map(is_missing_credential, files)) else ConfigReason.TLS_FILES
        names = ", ".join(map(str, files))
        raise ConfigError(f"broker credentials {names}: {error}", reason=reason) from error
