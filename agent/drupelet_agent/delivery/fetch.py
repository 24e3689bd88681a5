"""Downloads a file over HTTPS, resuming after broken connections; only processes that install use this module.

Proxies come from the environment (`https_proxy`, `no_proxy`), as for any program on the device.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from drupelet_agent import __version__
from drupelet_agent.config.packages import DeliveryConfig
from drupelet_agent.delivery.partial import Partial
from drupelet_agent.errors import PackageTooLargeError, StoreFullError, store_errors
from drupelet_shared.contract.sources import check_source, shown_source
from drupelet_shared.errors import SourceError
from drupelet_shared.units import format_bytes

log = logging.getLogger(__name__)

_BLOCK_BYTES = 256 * 2**10
_TIMEOUT_S = 30.0
# A server that sends less than this in a window is too slow.
_WINDOW_S = 60.0
_LEAST_BYTES = 4096
# Consecutive attempts that bring no byte.
_TRIES = 5
_LONGEST_PAUSE_S = 16.0
_MAX_REDIRECTS = 5
_CONTENT_RANGE = re.compile(r"bytes (?P<start>\d{1,15})-\d{1,15}/(?P<total>\d{1,15}|\*)")
_RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
_OTHERS_KEPT = 1

OnBytes = Callable[[int, int | None], None]


class _DroppedError(Exception):
    """The connection broke, or the server asks for another attempt."""


def fetch(url: str, folder: Path, config: DeliveryConfig, *, on_bytes: OnBytes, first_pause_s: float = 0.5) -> Partial:
    """Download a file, or continue a partial download.

    Args:
        url: An https:// URL.
        folder: The folder of the file, whose name is the digest of the URL.
        config: The limits.
        on_bytes: Receives the number of bytes received, and the size if the server states it.
        first_pause_s: The pause after a broken connection; it doubles while connections bring no byte.

    Returns:
        The file, complete as far as the server states its size; the caller discards it after use.

    Raises:
        SourceError: The server refuses, the certificate is not trusted, or the link breaks again and again.
        PackageTooLargeError: The file is larger than this device accepts.
        StoreFullError: The file does not fit on the disk.
    """
    with store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        part = Partial(folder / f"{hashlib.sha256(url.encode()).hexdigest()}.part")
        part.discard_others(keep=_OTHERS_KEPT)
    download = _Download(url, part, config, on_bytes)
    failures, pause_s = 0, first_pause_s
    while True:
        before = part.received
        try:
            download.go_on()
        except _DroppedError as error:
            failures = 0 if part.received > before else failures + 1
            if failures >= _TRIES:
                raise SourceError(f"source {shown_source(url)}: {error}, {_TRIES} times in a row") from error
            log.info("download of %s breaks at %d bytes: %s", shown_source(url), part.received, error)
            pause_s = first_pause_s if failures == 0 else min(_LONGEST_PAUSE_S, 2 * pause_s)
            time.sleep(pause_s)
        else:
            return part


class _Download:
    """The download of one file, in one or more requests."""

    def __init__(self, url: str, part: Partial, config: DeliveryConfig, on_bytes: OnBytes) -> None:
        self._url = url
        self._source = f"source {shown_source(url)}"
        self._part = part
        self._config = config
        self._on_bytes = on_bytes
        self._opener = _make_opener(config)

    def go_on(self) -> None:
        """Request the missing bytes.

        Raises:
            _DroppedError: The response did not bring all of them.
        """
        try:
            with closing(self._opener.open(self._request(), timeout=_TIMEOUT_S)) as response:
                total = self._begin(response)
                self._check_room(total)
                self._receive(response, total)
        except urllib.error.HTTPError as error:
            with error:
                self._judge_status(error)
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise SourceError(f"{self._source}: {error.reason.verify_message}") from error
            raise _DroppedError(str(error.reason)) from error
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            raise _DroppedError(f"{type(error).__name__}: {error}") from error
        except ValueError:
            # urllib parses the URL of a redirect itself; its exception may repeat the URL.
            raise SourceError(f"{self._source}: the server answers with a malformed URL or header") from None

    def _request(self) -> urllib.request.Request:
        headers = {"User-Agent": f"drupelet-agent/{__version__}"}
        if self._part.received:
            headers["Range"] = f"bytes={self._part.received}-"
            if self._part.validator is not None:
                headers["If-Range"] = self._part.validator
        return urllib.request.Request(self._url, headers=headers)  # noqa: S310 - a Source of the contract is https

    def _begin(self, response: Any) -> int | None:  # noqa: ANN401 - urllib's responses have no public type
        """Put the part where the response begins; the whole file's size, if the server tells."""
        headers: Message = response.headers
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            with store_errors(self._part.path.parent):
                self._part.begin(_validator(headers))
            length = headers.get("Content-Length", "")
            return int(length) if length.isdigit() else None
        content_range = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if content_range is None or int(content_range["start"]) != self._part.received:
            raise SourceError(f"{self._source}: answers a range from {self._part.received} with another one")
        return int(content_range["total"]) if content_range["total"] != "*" else None

    def _receive(self, response: IO[bytes], total: int | None) -> None:
        window_s, window_bytes = time.monotonic(), 0
        with self._part.path.open("ab", buffering=0) as file:
            while block := response.read(_BLOCK_BYTES):
                with store_errors(self._part.path.parent):
                    file.write(block)
                self._check_size(file.tell())
                self._on_bytes(file.tell(), total)
                window_bytes += len(block)
                if time.monotonic() - window_s > _WINDOW_S:
                    if window_bytes < _LEAST_BYTES:
                        raise _DroppedError(f"{window_bytes} bytes in {_WINDOW_S:g} s")
                    window_s, window_bytes = time.monotonic(), 0
        if total is not None and self._part.received != total:
            raise _DroppedError(f"the connection ended at {self._part.received} of {total} bytes")

    def _check_size(self, size: int) -> None:
        limit = self._config.max_package
        if size > limit:
            self._part.discard()
            raise PackageTooLargeError(f"{self._source} has {format_bytes(size)}: the limit is {format_bytes(limit)}")

    def _check_room(self, total: int | None) -> None:
        if total is None:
            return
        self._check_size(total)
        free, reserve = shutil.disk_usage(self._part.path.parent).free, self._config.reserve
        needed = total - self._part.received
        if needed + reserve > free:
            raise StoreFullError(
                f"{self._source} needs {format_bytes(needed)}: {format_bytes(free)} are free, "
                f"of which {format_bytes(reserve)} must stay free"
            )

    def _judge_status(self, error: urllib.error.HTTPError) -> None:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers.get("Content-Range") == f"bytes */{self._part.received}":
                # All of it was there already.
                return
            self._part.discard()
            raise _DroppedError("the file there is shorter than what was received of it") from error
        if error.code in _RETRIED_STATUS:
            raise _DroppedError(_status_text(error.code)) from error
        raise SourceError(f"{self._source}: {_status_text(error.code)}") from error


def _status_text(code: int) -> str:
    # The reason phrase is the server's, or urllib's with the URL of a redirect in it.
    return f"the server answers {code} {http.client.responses.get(code, '')}".rstrip()


def _validator(headers: Message) -> str | None:
    etag = headers.get("ETag")
    return etag if etag is not None and not etag.startswith("W/") else headers.get("Last-Modified")


def _make_opener(config: DeliveryConfig) -> urllib.request.OpenerDirector:
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
    except OSError as error:
        raise SourceError(f"delivery.ca_file {config.ca_file}: {error}") from error
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _SafeRedirects)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, but none to another scheme than https."""

    max_redirections = _MAX_REDIRECTS

    def redirect_request(  # noqa: PLR0917 - the signature is urllib's
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request to where the server points."""
        if urlsplit(newurl).scheme != "https":
            target = f"it redirects to {shown_source(newurl)}, which is not https"
            raise SourceError(f"source {shown_source(req.full_url)}: {target}")
        check_source(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
