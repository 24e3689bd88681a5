"""Examines the validity of the certificates of a TLS connection, by the clock of this device."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from drupelet_agent.config.broker import BrokerConfig, TlsConfig
from drupelet_agent.doctor.findings import Finding

_SOON = timedelta(days=30)
_PATIENCE_S = 5.0


def examine_certificates(config: BrokerConfig, *, now: datetime, clock_is_right: bool) -> Iterator[Finding]:
    """Check the authorities, the client certificate and the certificate of the broker.

    Args:
        config: The configuration of the broker.
        now: The time, in UTC.
        clock_is_right: Whether the clock can be trusted.

    Returns:
        The findings.
    """
    tls = config.tls
    if tls is None:
        return
    for key, path in (("broker.tls.ca_file", tls.ca_file), ("broker.tls.cert_file", tls.cert_file)):
        if path is not None:
            yield _file(key, path, now=now, clock_is_right=clock_is_right)
    try:
        certificate = _read_certificate(config, tls)
    except (ssl.SSLError, ValueError) as error:
        yield Finding("the broker's certificate", "note", f"could not be read: {error}", "see the broker's log")
        return
    except OSError:
        # The finding on the connection says what is wrong.
        return
    yield judge_dates("the broker's certificate", [certificate], now=now, clock_is_right=clock_is_right)


def _read_certificate(config: BrokerConfig, tls: TlsConfig) -> x509.Certificate:
    """Return the certificate of the broker itself, without those of its authorities.

    The device's own certificate is presented, without which some brokers end the handshake. Whether the broker's is to
    be trusted is seen when the connection is tried.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    with (
        socket.create_connection((config.host, config.port), timeout=_PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname=config.host) as secured,
    ):
        presented = secured.getpeercert(binary_form=True)
    if presented is None:
        raise ValueError("the broker presented none")
    return x509.load_der_x509_certificate(presented)


def judge_dates(what: str, certificates: list[x509.Certificate], *, now: datetime, clock_is_right: bool) -> Finding:
    """Compare certificates with the clock; of several, the first to expire counts.

    Args:
        what: The name of the certificates.
        certificates: At least one certificate.
        now: The time, in UTC.
        clock_is_right: Whether the clock can be trusted.

    Returns:
        The finding.
    """
    begin = max(certificate.not_valid_before_utc for certificate in certificates)
    end = min(certificate.not_valid_after_utc for certificate in certificates)
    state = f"valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}, and it is {now:%Y-%m-%d}"
    doubt = "" if clock_is_right else "first set the clock, which nothing has synchronised; then "
    if now < begin:
        return Finding(what, "fail", f"not valid yet: {state}", f"{doubt}make one that is valid, or correct the date")
    if now > end:
        return Finding(what, "fail", f"expired: {state}", f"{doubt}make a new one, and copy it here")
    if now > end - _SOON:
        return Finding(what, "warn", f"ends soon: {state}", f"{doubt}make a new one before that day")
    return Finding(what, "ok", state)


def _file(key: str, path: Path, *, now: datetime, clock_is_right: bool) -> Finding:
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        return Finding(key, "fail", f"{path}: {error.strerror}", "copy the certificate there, or correct the path")
    except ValueError:
        return Finding(key, "fail", f"{path} holds no certificate in PEM", "copy the certificate there")
    return judge_dates(key, certificates, now=now, clock_is_right=clock_is_right)
