"""A minimal HTTP server on the loopback interface: GET /metrics, and nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from drupelet_agent.telemetry.prometheus import CONTENT_TYPE

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
PATH = "/metrics"
_HEAD_LIMIT_BYTES = 8192
_TIMEOUT_S = 5.0
_MAX_CONNECTIONS = 8
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_REQUEST_LINE_WORDS = 3


class MetricsEndpoint:
    """Answers scrapes, one request per connection."""

    def __init__(self, port: int, render: Callable[[], str]) -> None:
        """Create an endpoint that does not listen yet.

        Args:
            port: The TCP port.
            render: Returns the metrics as text.
        """
        self._port = port
        self._render = render
        self._open = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; if the port is in use, log that and run without the endpoint."""
        try:
            self._server = await asyncio.start_server(self._serve, LOOPBACK, self._port, limit=_HEAD_LIMIT_BYTES)
        except OSError as error:
            log.error("metrics endpoint cannot listen address=%s port=%d: %s", LOOPBACK, self._port, error.strerror)  # noqa: TRY400 - the traceback says no more
            return
        log.info("metrics endpoint listens url=http://%s:%d%s", LOOPBACK, self._port, PATH)

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                status, body = await self._answer(reader)
                writer.write(_response(status, body))
                await writer.drain()
        except TimeoutError:
            writer.write(_response(408, ""))
        except ConnectionError:
            log.debug("metrics client disconnected")
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, str]:
        if self._open > _MAX_CONNECTIONS:
            return 503, ""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return 431, ""
        except asyncio.IncompleteReadError:
            return 400, ""
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != _REQUEST_LINE_WORDS or not words[2].startswith("HTTP/1."):
            return 400, ""
        method, target, _ = words
        if target.partition("?")[0] != PATH:
            return 404, ""
        return (200, self._render()) if method == "GET" else (405, "")


def _response(status: int, body: str) -> bytes:
    content = (body or f"{_REASONS[status]}\n").encode()
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {CONTENT_TYPE if body else 'text/plain; charset=utf-8'}",
        f"Content-Length: {len(content)}",
        "Connection: close",
        *(["Allow: GET"] if status == 405 else []),  # noqa: PLR2004 - RFC 9110 demands it with this status
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content
