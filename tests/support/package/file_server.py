"""An HTTPS server of files that breaks, lies and redirects when told, and a proxy to it."""

from __future__ import annotations

import hashlib
import re
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.broker.brokers import LOOPBACK
from support.broker.certificates import Authority


@dataclass
class Behaviour:
    """What the server does with requests.

    Attributes:
        files: Content by path.
        cut_after: Bytes of a body after which the connection is reset, the first so many times.
        cuts: How often it is.
        knows_ranges: Whether it answers range requests with a part.
        statuses: Answered first, one a request, instead of a file.
        redirects: Where a path leads to.
        has_length: Whether it says how long a file is.
        requests: Path and Range of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: int = 0
    cuts: int = 0
    knows_ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    has_length: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)


@dataclass(frozen=True)
class FileServer:
    """A running server."""

    url: str
    ca_file: Path
    behaviour: Behaviour


@contextmanager
def file_server(folder: Path) -> Iterator[FileServer]:
    """Serve over TLS, with a certificate of an authority of its own, on a free port."""
    authority, behaviour = Authority(folder), Behaviour()
    certificate = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)

    class Handler(_Handler):
        told = behaviour

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield FileServer(f"https://{LOOPBACK}:{server.server_port}", authority.ca_file, behaviour)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    told: Behaviour

    def do_GET(self) -> None:
        told, path = self.told, self.path.partition("?")[0]
        asked = self.headers.get("Range")
        told.requests.append((self.path, asked))
        if told.statuses:
            self._answer(told.statuses.pop(0))
        elif path in told.redirects:
            self._answer(302, {"Location": told.redirects[path]})
        elif path not in told.files:
            self._answer(404)
        else:
            self._send(told.files[path], asked)

    def _send(self, content: bytes, asked: str | None) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        start, status, headers = 0, 200, {"ETag": etag}
        found = re.fullmatch(r"bytes=(\d+)-", asked or "")
        if found and self.told.knows_ranges and self.headers.get("If-Range", etag) == etag:
            start = int(found[1])
            if start >= len(content):
                self._answer(416, {"Content-Range": f"bytes */{len(content)}"})
                return
            status, headers["Content-Range"] = 206, f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.told.has_length:
            headers["Content-Length"] = str(len(content) - start)
        self._answer(status, headers)
        body = content[start:]
        if self.told.cuts > 0:
            self.told.cuts -= 1
            self.wfile.write(body[: self.told.cut_after])
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()
            return
        self.wfile.write(body)

    def _answer(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}) and status != 200:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@contextmanager
def connect_proxy() -> Iterator[tuple[str, list[str]]]:
    """Yield an HTTP proxy that takes CONNECT alone; its URL, and where it was asked to connect to."""
    asked: list[str] = []
    listening = socket.create_server((LOOPBACK, 0))
    stop = threading.Event()

    def serve() -> None:
        listening.settimeout(0.05)
        while not stop.is_set():
            with suppress(TimeoutError):
                near, _ = listening.accept()
                threading.Thread(target=_tunnel, args=(near, asked), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{listening.getsockname()[1]}", asked
    finally:
        stop.set()
        thread.join()
        listening.close()


def _tunnel(near: socket.socket, asked: list[str]) -> None:
    near.settimeout(10)
    head = b""
    while b"\r\n\r\n" not in head:
        head += near.recv(4096)
    target = head.split()[1].decode()
    asked.append(target)
    host, _, port = target.partition(":")
    with near, socket.create_connection((host, int(port))) as far:
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        while True:
            for one in select.select([near, far], [], [])[0]:
                data = one.recv(65_536)
                if not data:
                    return
                (far if one is near else near).sendall(data)
