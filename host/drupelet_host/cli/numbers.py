"""Numbers of the command line: durations and shares that a program can work with."""

from __future__ import annotations

import math
from typing import Any

import click

# Sockets and timers take this much everywhere.
_YEAR_S = 365 * 86400


class FiniteRange(click.FloatRange):
    """A number within limits; "nan" and "inf" are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - the signature is click's
        """Return the number.

        Args:
            value: What was typed.
            param: The parameter, for the message.
            ctx: The context, for the message.

        Raises:
            click.BadParameter: The value is no number, is not finite, or lies outside the limits.
        """
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class _Seconds(FiniteRange):
    """A duration of at most a year, which the help text leaves unsaid."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - the signature is click's
        number = super().convert(value, param, ctx)
        if number > _YEAR_S:
            self.fail(f"{value!r} is longer than a year ({_YEAR_S} seconds)", param, ctx)
        return number


def seconds(*, minimum: float = 0, min_open: bool = False) -> FiniteRange:
    """Return the type of a duration in seconds, of at most a year.

    Args:
        minimum: The shortest duration.
        min_open: Whether the shortest duration itself is too short.
    """
    return _Seconds(min=minimum, min_open=min_open)
