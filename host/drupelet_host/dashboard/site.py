"""The page's files and the HTTP headers that restrict what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page.

    Attributes:
        content_type: Its media type.
        body: Its contents.
    """

    content_type: str
    body: bytes


def load_assets() -> Mapping[str, Asset]:
    """Return all files of the page by path; the page itself is at "/"."""
    assets = dict(_walk(files("drupelet_host.dashboard") / "assets", ""))
    assets["/"] = assets.pop("/index.html")
    return assets


def security_headers(*, websocket: str) -> dict[str, str]:
    """Return headers that let the page load its own files, show images and open one WebSocket, and nothing else."""
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "connect-src": f"'self' {websocket}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        # Another version of the command serves other files under the same names.
        "Cache-Control": "no-store",
    }


def _walk(folder: Traversable, path: str) -> list[tuple[str, Asset]]:
    assets = []
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            assets += _walk(entry, name)
        else:
            suffix = entry.name[entry.name.rfind(".") :]
            assets.append((name, Asset(_TYPES[suffix], entry.read_bytes())))
    return assets
