"""TLS of a connection to a broker."""

from __future__ import annotations

import ssl

from drupelet_host.client.connection.address import TlsOptions
from drupelet_shared.errors import InvalidValueError
from drupelet_shared.transport import make_tls_context


def make_client_tls(tls: TlsOptions) -> ssl.SSLContext:
    """Make the TLS context for a broker.

    Raises:
        InvalidValueError: A certificate or key file cannot be read.
    """
    try:
        return make_tls_context(ca_file=tls.ca_file, cert_file=tls.cert_file, key_file=tls.key_file)
    except OSError as error:
        files = ", ".join(str(file) for file in (tls.ca_file, tls.cert_file, tls.key_file) if file)
        raise InvalidValueError(f"certificates {files}: {error}") from error
