"""Pieces of SVG that read well on light and on dark pages: every picture brings its own background.

A page's theme and the reader's system may differ, so a picture with a transparent background could be dark on dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from benchmarks.comparison.machine_facts import is_quiet

WIDTH = 760
# Text is at least 4.5:1 against its background in both schemes, marks at least 3:1.
_LIGHT = {
    "page": "#ffffff",
    "edge": "#d0d7de",
    "grid": "#e7ebef",
    "text": "#1f2328",
    "soft": "#59636e",
    "peer": "#7a8490",
    "ours": "#b3123f",
}
_DARK = {
    "page": "#14181d",
    "edge": "#3a424c",
    "grid": "#262d35",
    "text": "#e9edf1",
    "soft": "#a2acb7",
    "peer": "#8a95a1",
    "ours": "#ff6b8f",
}
_FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
_RULES = """\
text { font-family: %s; fill: var(--text); font-size: 13px }
.title { font-size: 17px; font-weight: 600 }
.soft { fill: var(--soft); font-size: 12px }
.end { text-anchor: end }
.middle { text-anchor: middle }
.ours { fill: var(--ours) }
.peer { fill: var(--peer) }
text.ours { font-weight: 600 }
text.peer { fill: var(--text) }
.grid { stroke: var(--grid) }
.axis { stroke: var(--edge) }
.card { fill: var(--page); stroke: var(--edge) }"""


def picture(parts: Iterable[str], *, height: int, title: str, summary: str) -> str:
    """Return a whole picture.

    Args:
        parts: The elements, in order.
        height: The height in pixels; the width is `WIDTH`.
        title: The title for screen readers.
        summary: The content in words, for readers who do not see it.
    """
    rules = _RULES % _FONT
    lines = [
        *opening(height=height, title=title, summary=summary),
        f"<style>\n{scheme(_LIGHT, _DARK)}\n{rules}\n</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>',
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def opening(*, height: float, title: str, summary: str) -> list[str]:
    """Return the first lines of a picture: its size, and what it shows for readers who do not see it.

    Args:
        height: The height in pixels; the width is `WIDTH`.
        title: The title for screen readers.
        summary: The content in words.
    """
    size = f'viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title summary">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="summary">{escape(summary)}</desc>',
    ]


def scheme(light: dict[str, str], dark: dict[str, str]) -> str:
    """Return the custom properties of both colour schemes."""
    properties = [" ".join(f"--{name}: {value};" for name, value in colours.items()) for colours in (light, dark)]
    return f"svg {{ {properties[0]} }}\n@media (prefers-color-scheme: dark) {{ svg {{ {properties[1]} }} }}"


def text(x: float, y: float, content: str, *classes: str) -> str:
    """Return a line of text with its baseline at y."""
    names = f' class="{" ".join(classes)}"' if classes else ""
    return f'<text x="{x:g}" y="{y:g}"{names}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, *classes: str) -> str:
    """Return a straight line."""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="{" ".join(classes)}"/>'


def text_width(content: str, *, size: float = 13.0) -> float:
    """Estimate the width of a line of text in pixels, on the generous side."""
    return len(content) * size * 0.56


def where_measured(machine: Mapping[str, Any]) -> str:
    """Return the machine and the day of a result, in the few words that a picture has room for."""
    processor = machine["cpu"].replace("(R)", "")
    busy = "" if is_quiet(machine) else " while it was busy"
    return f"{machine['cores']} cores of {processor}{busy}, {machine['date'][:10]}; not a Raspberry Pi"
