"""One telemetry window of a model as a line of text, for `drupelet watch`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from drupelet_host.fleet.cells import format_ms, format_rate, format_share
from drupelet_host.fleet.fitting import ALWAYS, ColumnWidth, fit_columns, shorten
from drupelet_host.fleet.printable import printable
from drupelet_host.fleet.sparkline import draw_sparkline
from drupelet_host.fleet.state import TelemetryWindow
from drupelet_shared.contract.messages import ModelTelemetry

_GAP = "  "
_MIN_DEVICE, _MIN_BARS, _MAX_BARS = 8, 5, 20


def format_window(
    device: str,
    telemetry: ModelTelemetry,
    windows: Sequence[TelemetryWindow],
    *,
    at: datetime,
    width: int | None = None,
) -> str:
    """Format the latest window of a model.

    The time, the device, requests/s, p50, p99 and errors are always there. The trend, max, p90 and the model follow in
    this order where the width has room.

    Args:
        device: The device's name.
        telemetry: The window's message.
        windows: The latest windows, the oldest first; at least one.
        at: The time to show.
        width: The characters of a line; None is any number.

    Returns:
        The line; its last part is the p99 of the latest windows as bars, relative to the largest of them.
    """
    latest = windows[-1]
    bars = draw_sparkline([window.p99_ms for window in windows], width=_MAX_BARS)
    parts = (
        (f"{at:%H:%M:%S}", ALWAYS),
        (device, ALWAYS),
        (printable(f"{telemetry.model} {telemetry.version}"), 4),
        (f"{format_rate(latest.requests_per_s):>6} req/s", ALWAYS),
        (f"p50 {format_ms(latest.p50_ms):>8}", ALWAYS),
        (f"p90 {format_ms(latest.p90_ms):>8}", 3),
        (f"p99 {format_ms(latest.p99_ms):>8}", ALWAYS),
        (f"max {format_ms(telemetry.total.max_ms if telemetry.total else None):>8}", 2),
        (f"errors {format_share(latest.error_rate):>6}", ALWAYS),
    )
    needs = [ColumnWidth(len(text), priority, _MIN_DEVICE if text == device else None) for text, priority in parts]
    needs.append(ColumnWidth(_MIN_BARS, 1))
    # The last part has no gap after it.
    widths = fit_columns(needs, None if width is None else width + len(_GAP), gap=len(_GAP))
    shown = [shorten(text, fitted) for (text, _), fitted in zip(parts, widths, strict=False) if fitted is not None]
    line = _GAP.join(shown)
    if widths[-1] is None:
        return line
    room = _MAX_BARS if width is None else min(_MAX_BARS, width - len(line) - len(_GAP))
    return f"{line}{_GAP}{bars[-room:]}"
