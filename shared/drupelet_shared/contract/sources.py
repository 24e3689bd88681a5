"""The source of a package: its syntax, checked before anything opens it, and the form in which it may be shown."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import AfterValidator, Field

from drupelet_shared.errors import SourceError

_UPLOAD = "upload:"
_FILE = "file://"
# RFC 1123, section 2.1, with the underscore that internal names use; the resolver refuses longer labels with a
# UnicodeError. A host name outside ASCII is written in its "xn--" form.
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_PORT = re.compile(r"(:[0-9]{1,5})?")
_MAX_HOST_LENGTH = 253


def check_source(source: str) -> str:
    """Return a source unchanged, if it can be opened.

    Raises:
        SourceError: The source carries a user name or password, or is malformed. The message repeats no part of it.
    """
    if source.startswith(_UPLOAD):
        return source
    if not source.isprintable():
        raise SourceError("source: contains a character that is not printable")
    if source.startswith(_FILE):
        if "\0" in unquote(source):
            raise SourceError("source: the path of a file:// URL contains a null character")
        return source
    if not source.isascii():
        raise SourceError("source: an https:// URL must be ASCII: write the host as xn-- and the path with %-escapes")
    _check_authority(_split(source))
    return source


def shown_source(source: str) -> str:
    """Return a source as logs and messages may show it: without user name, password, query and fragment."""
    scheme, separator, rest = source.partition("://")
    if not separator:
        return source
    authority, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def _split(source: str) -> SplitResult:
    try:
        return urlsplit(source)
    except ValueError:
        # The exception may repeat the authority, password included.
        raise SourceError("source: the host of the URL is malformed") from None


def _check_authority(url: SplitResult) -> None:
    if "@" in url.netloc or "@" in unquote(url.netloc):
        raise SourceError(
            "source: a user name or password in a URL is refused, since sources are published and logged; "
            "put a token into the query, which is not"
        )
    host, port = _host_and_port(url.netloc)
    if "%" in host:
        # A zone (RFC 6874) names an interface of one device, and the resolver of another waits for it in vain.
        raise SourceError("source: the host of the URL has an IPv6 zone or a %-escape: give a name or a global address")
    if len(host) > _MAX_HOST_LENGTH or not (_is_ipv6(host) or _HOST.fullmatch(host)):
        raise SourceError("source: the host of the URL is malformed")
    if not _PORT.fullmatch(port) or int(port[1:] or "443") not in range(1, 65_536):
        raise SourceError("source: the port of the URL is not a number from 1 to 65535")


def _host_and_port(netloc: str) -> tuple[str, str]:
    if netloc.startswith("["):
        host, _, port = netloc.partition("]")
        return f"{host}]", port
    host, colon, port = netloc.partition(":")
    return host, colon + port if port else ""


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return host.startswith("[")


Source = Annotated[
    str,
    Field(min_length=1, max_length=2048, pattern=r"^(upload:[0-9a-f]{64}|https://\S+|file:///\S+)$"),
    # A SourceError passes through pydantic as it is, and keeps its code.
    AfterValidator(check_source),
]
"""`upload:<SHA-256 of the file>`, an `https://` or a `file:///` URL."""
