"""The configuration of the connection to the broker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from drupelet_agent.config.section import Section
from drupelet_shared.contract.topics import DEFAULT_PREFIX


class TlsConfig(Section):
    """The TLS connection to the broker; with `cert_file` and `key_file` the agent presents a client certificate.

    Attributes:
        ca_file: The certificate authority of the broker's certificate; the system's authorities by default.
        cert_file: The certificate of this device.
        key_file: The private key of this certificate.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: one of them is missing")
        return self


class BrokerConfig(Section):
    """The address of the broker, and the properties of the session.

    Attributes:
        host: The name or address of the broker.
        port: The port of the broker; usually 8883 with TLS.
        client_id: The client identifier; `drupelet-` and the device's name by default. Any account at the broker can
            end the session of a client identifier that it knows, so one that others cannot guess protects the device.
        username: The user name, for brokers that require one.
        password_file: A file whose first line is the password.
        tls: The TLS connection; without it the connection is not encrypted.
        prefix: The first levels of all topics.
        keepalive_s: The longest time without a packet; the broker closes a connection that is silent 1.5 times as long.
        session_expiry_s: The time that the broker keeps requests for a disconnected agent.
        will_delay_s: The time that the broker delays the last will, so that a short interruption is not announced.
    """

    host: Annotated[str, Field(min_length=1)] = "localhost"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    client_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,99}$")] | None = None
    username: str | None = None
    password_file: Path | None = None
    tls: TlsConfig | None = None
    prefix: Annotated[str, Field(pattern=r"^[^+#$/][^+#]*[^+#/]$")] = DEFAULT_PREFIX
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    session_expiry_s: Annotated[int, Field(ge=0, le=86_400)] = 300
    will_delay_s: Annotated[int, Field(ge=0, le=3600)] = 0
