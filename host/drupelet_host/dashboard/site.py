"""The page's files, and the headers that keep it to itself."""

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
    """A file as it is served."""

    content_type: str
    body: bytes


def load_assets() -> Mapping[str, Asset]:
    """Every file of the page by its path; the page itself is at "/"."""
    assets = dict(_walk(files("drupelet_host.dashboard") / "assets", ""))
    assets["/"] = assets.pop("/index.html")
    return assets


def security_headers(*, websocket: str) -> dict[str, str]:
    """What the page may do: load its own files, show images that it was given, and open that one WebSocket."""
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
        # A new version of the command has new files under the same names.
        "Cache-Control": "no-store",
    }


def _walk(folder: Traversable, path: str) -> list[tuple[str, Asset]]:
    found = []
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            found += _walk(entry, name)
        else:
            suffix = entry.name[entry.name.rfind(".") :]
            found.append((name, Asset(_TYPES[suffix], entry.read_bytes())))
    return found
