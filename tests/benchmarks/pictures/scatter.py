"""The picture of the README: latency against accuracy of every method that made the same network smaller."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.pictures.svg import WIDTH, line, picture, text, text_width, where_measured

_HEIGHT = 430
_LEFT, _RIGHT, _TOP, _BOTTOM = 78.0, 24.0, 98.0, 58.0
_LABEL_HEIGHT = 32.0
# A label further away than this has a line to its point.
_FAR = 16.0
_TICKS_MS = (0.03, 0.1, 0.3, 1.0, 3.0)
_ENGINE = "onnxruntime"
METHODS = {
    "a": "original, float32",
    "b": "unstructured 50 %, int8",
    "c": "ONNX Runtime int8",
    "d": "NNCF int8",
    "e": "Torch-Pruning 50 %, int8",
    "f": "drupelet, smallest",
    "g": "drupelet, most accurate",
}
_OURS = frozenset("fg")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Point:
    """One method's fastest file: its row in the results, latency, accuracy and size."""

    row: str
    p50_ms: float
    top1: float
    size_bytes: int

    @property
    def kind(self) -> str:
        """The class of its marks."""
        return "ours" if self.row in _OURS else "peer"


def find_points(report: Mapping[str, Any]) -> list[Point]:
    """Return the fastest file of each row in ONNX Runtime at one thread."""
    best: dict[str, Point] = {}
    for measured in report["measured"]:
        if measured["engine"] != _ENGINE or measured["row"] not in METHODS:
            continue
        p50_ms = measured["timings"]["1"]["p50_ms"]
        point = Point(measured["row"], p50_ms, measured["top1"], measured["size_bytes"])
        if point.row not in best or p50_ms < best[point.row].p50_ms:
            best[point.row] = point
    return [best[row] for row in sorted(best)]


def draw_scatter(report: Mapping[str, Any]) -> str:
    """Return the picture of a report of `make bench-compiler`."""
    points = find_points(report)
    machine = report["machines"][report["measured_on"][_ENGINE]]
    axes = _Axes.around(points)
    where = where_measured(machine)
    original = next(point for point in points if point.row == "a")
    fastest = min((point for point in points if point.kind == "ours"), key=lambda point: point.p50_ms)
    title = "ResNet18 on Fashion-MNIST: latency against accuracy"
    summary = "; ".join(f"{METHODS[point.row]}: {_describe(point)}" for point in points) + f". Measured on {where}."
    parts = [
        text(24, 34, title, "title"),
        text(24, 56, f"ONNX Runtime, one thread. Measured on {where}.", "soft"),
        *axes.draw(),
        *_draw_points(points, axes),
        text(WIDTH - _RIGHT, _TOP - 10, _gain(original, fastest), "ours", "end"),
    ]
    return picture(parts, height=_HEIGHT, title=title, summary=summary)


def _gain(original: Point, ours: Point) -> str:
    smaller = 100 * (1 - ours.size_bytes / original.size_bytes)
    return f"drupelet: {original.p50_ms / ours.p50_ms:.1f}x as fast as the original, {smaller:.1f} % smaller"


def _describe(point: Point) -> str:
    return f"{point.p50_ms:.3f} ms, {point.top1:.2%}, {_size(point)}"


def _size(point: Point) -> str:
    megabytes = point.size_bytes / 1e6
    return f"{megabytes:.1f} MB" if megabytes >= 1 else f"{point.size_bytes / 1e3:.0f} KB"


@dataclass(frozen=True, slots=True)
class _Axes:
    """Milliseconds from left to right on a logarithmic scale, top-1 in per cent from bottom to top."""

    low_ms: float
    high_ms: float
    low: float
    high: float

    @classmethod
    def around(cls, points: Sequence[Point]) -> _Axes:
        """Return axes that leave room for labels around the points."""
        times, percents = [point.p50_ms for point in points], [100 * point.top1 for point in points]
        return cls(
            low_ms=min(times) / 1.9,
            high_ms=max(times) * 1.7,
            low=math.floor(2 * min(percents) - 0.5) / 2,
            high=math.ceil(2 * max(percents) + 0.2) / 2,
        )

    def x(self, p50_ms: float) -> float:
        share = math.log(p50_ms / self.low_ms) / math.log(self.high_ms / self.low_ms)
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    def y(self, percent: float) -> float:
        share = (percent - self.low) / (self.high - self.low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    def draw(self) -> list[str]:
        """Return the grid with its ticks and names."""
        left, right, bottom = _LEFT, WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        parts = []
        for step in range(round(2 * (self.high - self.low)) + 1):
            percent = self.low + step / 2
            parts += [line(left, self.y(percent), right, self.y(percent), "grid")]
            parts += [text(left - 8, self.y(percent) + 4, f"{percent:.1f} %", "soft", "end")]
        for tick in (tick for tick in _TICKS_MS if self.low_ms < tick < self.high_ms):
            parts += [line(self.x(tick), _TOP, self.x(tick), bottom, "grid")]
            parts += [text(self.x(tick), bottom + 20, f"{tick:g} ms", "soft", "middle")]
        parts += [line(left, bottom, right, bottom, "axis")]
        name = "latency of one inference, median (logarithmic): left is faster"
        parts += [text(right, bottom + 40, name, "soft", "end")]
        parts += [text(24, _TOP - 10, "top-1 on 10,000 test images", "soft")]
        return parts


def _draw_points(points: Sequence[Point], axes: _Axes) -> list[str]:
    spots = {point.row: (axes.x(point.p50_ms), axes.y(100 * point.top1)) for point in points}
    taken: list[Box] = [(x - 9, y - 9, x + 9, y + 9) for x, y in spots.values()]
    parts = []
    # Ours first, so that their labels stand where one looks for them.
    for point in sorted(points, key=lambda point: (point.kind != "ours", point.p50_ms)):
        x, y = spots[point.row]
        lines = (METHODS[point.row], f"{point.p50_ms:.3f} ms, {_size(point)}")
        bold = 1.1 if point.kind == "ours" else 1.0
        box = _place_label(x, y, bold * max(map(text_width, lines)), taken)
        taken.append(box)
        parts += _draw_label(x, y, box, lines, kind=point.kind)
        radius = 8 if point.kind == "ours" else 6
        parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius}" class="{point.kind}"/>')
    return parts


def _draw_label(x: float, y: float, box: Box, lines: tuple[str, str], *, kind: str) -> list[str]:
    left, top, right, bottom = box
    middle = (left + right) / 2
    if abs(middle - x) < 1:
        at, side = x, ("middle",)
    else:
        at, side = (right, ("end",)) if middle < x else (left, ())
    parts = [text(at, top + 12, lines[0], kind, *side), text(at, top + 27, lines[1], "soft", *side)]
    near_x, near_y = min(max(x, left), right), min(max(y, top), bottom)
    if math.dist((x, y), (near_x, near_y)) > _FAR:
        parts.append(line(x, y, near_x, near_y, "axis"))
    return parts


def _place_label(x: float, y: float, width: float, taken: Sequence[Box]) -> Box:
    """Return the nearest place around a point where a label covers nothing else."""
    corners = [
        corner
        for gap in (12.0, 24.0, 40.0, 56.0, 72.0)
        for corner in (
            (x - width / 2, y - gap - _LABEL_HEIGHT),
            (x - width / 2, y + gap),
            (x + gap, y - _LABEL_HEIGHT / 2),
            (x - width + 8, y - gap - _LABEL_HEIGHT),
            (x - gap - width, y - _LABEL_HEIGHT / 2),
            (x + 12, y - gap - _LABEL_HEIGHT),
            (x + 12, y + gap),
            (x - width, y + gap),
        )
    ]
    boxes = [(left, top, left + width, top + _LABEL_HEIGHT) for left, top in corners]
    free = (box for box in boxes if _is_inside(box) and not any(_overlaps(box, other) for other in taken))
    return next(free, next(filter(_is_inside, boxes), boxes[0]))


def _is_inside(box: Box) -> bool:
    left, top, right, bottom = box
    return left >= _LEFT and right <= WIDTH - 8 and top >= _TOP - 6 and bottom <= _HEIGHT - _BOTTOM


def _overlaps(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
