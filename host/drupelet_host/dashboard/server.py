"""The local server of the page's files, its settings and the bridge, on a loopback port."""

from __future__ import annotations

import hmac
import json
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import SplitResult, parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.tls import make_client_tls
from drupelet_host.dashboard.bridge import Bridge
from drupelet_host.dashboard.site import Asset, load_assets, security_headers

LOOPBACK = "127.0.0.1"
_SOCKET_PATH, _SESSION_PATH = "/mqtt", "/session.json"
_MQTT = Subprotocol("mqtt")
_MAX_MESSAGE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class DashboardOptions:
    """The options of a dashboard.

    Attributes:
        broker: The broker that the bridge connects to.
        prefix: First levels of the topics.
        websocket: The broker's own WebSocket listener, which the page uses instead of the bridge.
        port: The port to listen on; 0 takes a free one.
    """

    broker: BrokerAddress
    prefix: str
    websocket: str | None = None
    port: int = 0


@dataclass(slots=True)
class Dashboard:
    """A running server.

    Other local programs and other web pages can reach a loopback port too. Without the token only the page's public
    files are served. The token is new for each run and is part of the URL's fragment, which no server receives.

    Attributes:
        options: The dashboard's options.
        assets: The page's files by path.
        bridge: The bridge to the broker.
        port: The port it listens on.
        token: The token.
    """

    options: DashboardOptions
    assets: Mapping[str, Asset]
    bridge: Bridge
    port: int = 0
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def url(self) -> str:
        """The URL to open."""
        return f"{self.origin}/#token={self.token}"

    @property
    def origin(self) -> str:
        """Scheme, host and port of the URL."""
        return f"http://{LOOPBACK}:{self.port}"

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return the response to a request; None accepts a WebSocket."""
        parts = urlsplit(request.path)
        refusal = self._refusal(request, parts)
        if refusal is not None:
            return connection.respond(HTTPStatus.FORBIDDEN, f"{refusal}\n")
        if parts.path == _SOCKET_PATH:
            return None
        if parts.path == _SESSION_PATH:
            return self._respond(Asset("application/json", json.dumps(self._session()).encode()))
        asset = self.assets.get(parts.path)
        return self._respond(asset) if asset else connection.respond(HTTPStatus.NOT_FOUND, "no such file\n")

    def _refusal(self, request: Request, parts: SplitResult) -> str | None:
        if request.headers.get("Host") != f"{LOOPBACK}:{self.port}":
            # Another name for this address may belong to a hostile page (DNS rebinding).
            return "wrong host"
        if parts.path in {_SOCKET_PATH, _SESSION_PATH}:
            given = parse_qs(parts.query).get("token", [""])[0]
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return "the token is missing or from another run"
        if parts.path == _SOCKET_PATH and request.headers.get("Origin") != self.origin:
            return "wrong origin"
        return None

    def _session(self) -> dict[str, str]:
        bridged = f"ws://{LOOPBACK}:{self.port}{_SOCKET_PATH}?token={self.token}"
        return {
            "broker": self.options.websocket or str(self.options.broker),
            "prefix": self.options.prefix.strip("/"),
            "websocket": self.options.websocket or bridged,
        }

    def _respond(self, asset: Asset) -> Response:
        websocket = self.options.websocket
        allowed = f"ws://{LOOPBACK}:{self.port}" if websocket is None else _origin_of(websocket)
        headers = Headers(security_headers(websocket=allowed))
        headers["Content-Type"] = asset.content_type
        headers["Content-Length"] = str(len(asset.body))
        headers["Connection"] = "close"
        return Response(HTTPStatus.OK, HTTPStatus.OK.phrase, headers, asset.body)


@asynccontextmanager
async def serve_dashboard(options: DashboardOptions) -> AsyncIterator[Dashboard]:
    """Serve a dashboard until the context ends.

    Raises:
        OSError: The port is in use.
        InvalidValueError: A certificate or key file cannot be read.
    """
    tls = make_client_tls(options.broker.tls) if options.broker.tls is not None else None
    dashboard = Dashboard(options, load_assets(), Bridge(options.broker, tls=tls))
    async with serve(
        dashboard.bridge.serve,
        LOOPBACK,
        options.port,
        process_request=dashboard.answer,
        subprotocols=[_MQTT],
        # Both ends are on this machine.
        compression=None,
        logger=_quiet_logger(),
        max_size=_MAX_MESSAGE_BYTES,
    ) as server:
        (listening,) = server.sockets
        dashboard.port = listening.getsockname()[1]
        yield dashboard


def _quiet_logger() -> logging.Logger:
    # The library logs a traceback for each connection without a request, such as browsers open in advance.
    logger = logging.getLogger(f"{__name__}.websockets")
    logger.setLevel(logging.CRITICAL)
    return logger


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
