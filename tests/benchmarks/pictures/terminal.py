"""Draws the recording of a command as an animated SVG: its lines appear and scroll up, and then it starts again.

All lines are always there: one animation moves them up, the other moves the cover of those that were not printed yet.
Readers who prefer reduced motion, and programs that do not animate, see the last screen.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from benchmarks.comparison.machine_facts import is_quiet
from benchmarks.pictures.svg import WIDTH, opening

_ROWS = 26
_PADDING, _BAR, _LINE = 18.0, 34.0, 16.5
_SIZE = 12.0
# A pause is shortened to this, and a line is shown at least this long after the one before.
_LONGEST_S, _SHORTEST_S = 0.9, 0.09
_FIRST_S, _LAST_S = 0.8, 7.0
_SGR = re.compile(r"\x1b\[([\d;]*)m")
_OTHER = re.compile(r"\x1b\[[\d;?]*[A-Za-ln-z]|\r")
_COLOURS = {
    31: "red", 32: "green", 33: "yellow", 34: "blue", 35: "magenta", 36: "cyan", 90: "dim",
    91: "red", 92: "green", 93: "yellow", 94: "blue", 95: "magenta", 96: "cyan",
}  # fmt: skip
_STYLE = """\
svg { --page: #14181d; --edge: #3a424c }
text { font-family: ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; font-size: %gpx;
  fill: #d6dce3; white-space: pre }
.name { fill: #a2acb7; text-anchor: middle }
.bold { font-weight: 700; fill: #ffffff }
.dim { fill: #929daa }
.red { fill: #ff7b86 } .green { fill: #6bd08a } .yellow { fill: #e6c35c }
.blue { fill: #7fb5ff } .magenta { fill: #ff8fb0 } .cyan { fill: #66d3dd }
.lines { transform: translateY(%gpx) }
.cover { transform: translateY(%gpx); fill: #14181d }
@media (prefers-reduced-motion: no-preference) {
  .lines { animation: scroll %.2fs step-end infinite }
  .cover { animation: print %.2fs step-end infinite }
}
@keyframes scroll { %s }
@keyframes print { %s }"""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line in one style."""

    text: str
    style: str = ""


def draw_recording(recording: Mapping[str, Any]) -> str:
    """Return the animated picture of a recording."""
    columns = recording["columns"]
    shown = [(0.0, [Span("$ ", "dim"), Span(recording["command"], "bold")])]
    for at_s, raw in recording["lines"]:
        spans = parse_spans(raw)
        # A line of control sequences alone shows nothing; an empty line is a gap.
        if spans or not raw:
            shown += [(at_s, row) for row in _wrap(spans, columns)]
    times = shorten([at_s for at_s, _ in shown])
    machine = recording["machine"]
    busy = "" if is_quiet(machine) else " on a busy machine"
    name = f"{recording['command']}, recorded on {machine['date'][:10]}{busy}; pauses are shortened"
    height = _BAR + 2 * _PADDING + _ROWS * _LINE
    width = WIDTH - 2 * _PADDING
    whole_s = times[-1] + _LAST_S
    moves = (_keyframes(times, whole_s=whole_s, place=place) for place in (_scroll, _cover))
    style = _STYLE % (_SIZE, _scroll(len(shown)), _cover(len(shown)), whole_s, whole_s, *moves)
    lines = [
        *opening(height=height, title=name, summary=_plain(shown[-_ROWS:])),
        f"<style>\n{style}\n</style>",
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:g}" rx="10" fill="#14181d" stroke="#3a424c"/>',
        *(f'<circle cx="{22 + 18 * dot}" cy="18" r="5.5" fill="#4a535e"/>' for dot in range(3)),
        f'<text x="{WIDTH / 2:g}" y="22" class="name">{escape(name)}</text>',
        f'<svg x="{_PADDING:g}" y="{_BAR + _PADDING:g}" width="{width:g}" height="{_ROWS * _LINE:g}">',
        '<g class="lines">',
        *(_draw_line(number, spans, columns=columns, width=width) for number, (_, spans) in enumerate(shown)),
        "</g>",
        f'<rect class="cover" width="{width:g}" height="{_ROWS * _LINE:g}"/>',
        "</svg>",
        "</svg>",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def parse_spans(raw: str) -> list[Span]:
    """Split a line with ANSI colours into pieces of one style; other control sequences are dropped."""
    clean = _OTHER.sub("", raw)
    spans, style, start = [], "", 0
    for found in _SGR.finditer(clean):
        spans.append(Span(clean[start : found.start()], style))
        style, start = _next_style(style, found[1]), found.end()
    spans.append(Span(clean[start:], style))
    return [span for span in spans if span.text]


def shorten(times: Sequence[float]) -> list[float]:
    """Return when each line is shown: pauses are shortened, and no two lines come at once."""
    shown = [_FIRST_S]
    for before, after in itertools.pairwise(times):
        shown.append(round(shown[-1] + min(max(after - before, _SHORTEST_S), _LONGEST_S), 2))
    return shown


def _next_style(style: str, codes: str) -> str:
    for code in (int(code or 0) for code in codes.split(";")):
        if code == 0:
            style = ""
        elif code == 1:
            style = style or "bold"
        elif code == 2:
            style = "dim"
        elif code in _COLOURS:
            style = _COLOURS[code]
    return style


def _wrap(spans: Sequence[Span], columns: int) -> Iterator[list[Span]]:
    """Yield the line in pieces that a terminal of this width shows, at least one."""
    row: list[Span] = []
    used = 0
    for span in spans:
        rest = span.text
        while used + len(rest) > columns:
            row.append(Span(rest[: columns - used], span.style))
            rest, used = rest[columns - used :], 0
            yield row
            row = []
        row.append(Span(rest, span.style))
        used += len(rest)
    yield row


def _draw_line(number: int, spans: Sequence[Span], *, columns: int, width: float) -> str:
    count = sum(len(span.text) for span in spans)
    if not count:
        return ""
    inner = "".join(
        f'<tspan class="{span.style}">{escape(span.text)}</tspan>' if span.style else escape(span.text)
        for span in spans
    )
    # The stated length keeps columns straight in whatever font the reader has.
    length = f'textLength="{width * count / columns:.1f}" lengthAdjust="spacingAndGlyphs"'
    return f'<text x="0" y="{(number + 0.75) * _LINE:.1f}" xml:space="preserve" {length}>{inner}</text>'


def _scroll(count: int) -> float:
    """Return how far the lines are moved when this many have been printed: the newest is in the lowest row at most."""
    return min(0, _ROWS - count) * _LINE


def _cover(count: int) -> float:
    """Return the top of the cover when this many lines have been printed."""
    return min(count, _ROWS) * _LINE


def _keyframes(times: Sequence[float], *, whole_s: float, place: Callable[[int], float]) -> str:
    """Return the places at the times at which lines are printed, those alone where something moves."""
    frames = [(0.0, place(0))]
    frames += [(100 * at_s / whole_s, place(number)) for number, at_s in enumerate(times, start=1)]
    moved = [frames[0], *(later for earlier, later in itertools.pairwise(frames) if later[1] != earlier[1])]
    return " ".join(
        f"{share:.2f}% {{ transform: translateY({y:g}px) }}" for share, y in [*moved, (100.0, moved[-1][1])]
    )


def _plain(shown: Sequence[tuple[float, Sequence[Span]]]) -> str:
    return "\n".join("".join(span.text for span in spans).rstrip() for _, spans in shown)
