"""The gate of a wave: conditions on what its devices report, and their result."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from drupelet_shared.errors import InvalidValueError

Result = Literal["passed", "failed", "undecided"]
Unit = Literal["share", "ratio", "ms"]

_CONDITION = re.compile(
    r"(?P<what>errors|failed|p50|p90|p99)\s*(?P<comparison><=|<)\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>%|x|ms|)"
)
_PERCENTILES = ("p50", "p90", "p99")
# Of the outcomes in telemetry, those that are the device's doing; a malformed request says nothing about a release.
DEVICE_ERRORS = frozenset({"inference_failed", "model_unavailable", "overloaded", "expired"})
# The 97.5 % point of the normal distribution, for a two-sided interval of 95 %.
_Z = 1.959964
_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Attributes:
        what: `errors`, `failed`, or a percentile: `p50`, `p90`, `p99`.
        limit: The limit; a share of 0 to 1, a ratio or milliseconds.
        unit: What the limit is.
        is_inclusive: Whether the limit itself passes.
    """

    what: str
    limit: float
    unit: Unit
    is_inclusive: bool = False

    def allows(self, value: float) -> bool:
        """Tell whether a value is within the limit."""
        return value <= self.limit if self.is_inclusive else value < self.limit

    def __str__(self) -> str:
        shown = {
            "share": f"{self.limit * 100:g}%",
            "ratio": f"{self.limit:g}x",
            "ms": f"{self.limit:g}ms",
        }[self.unit]
        return f"{self.what}{'<=' if self.is_inclusive else '<'}{shown}"


@dataclass(frozen=True, slots=True)
class Gate:
    """All conditions of a gate; a wave passes if each of them does."""

    conditions: tuple[Condition, ...]

    @property
    def needs_baseline(self) -> bool:
        """Whether a condition compares with what devices reported before the roll-out."""
        return any(condition.unit == "ratio" for condition in self.conditions)

    def __str__(self) -> str:
        return ", ".join(map(str, self.conditions))


@dataclass(frozen=True, slots=True)
class WaveMeasurement:
    """What the devices of a wave have reported so far.

    Attributes:
        devices: Devices of the wave, without those that were offline all the time.
        failed: Devices that did not become active and healthy.
        requests: Requests that ended on the new version.
        errors: Those of them that the device failed to answer.
        latencies_ms: For each percentile, the value of each device with requests.
        ratios: For each percentile, new value by old value of each device that had requests before and after.
    """

    devices: int
    failed: int = 0
    requests: int = 0
    errors: int = 0
    latencies_ms: Mapping[str, Sequence[float]] = field(default_factory=dict)
    ratios: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """The result of one condition.

    Attributes:
        condition: The condition.
        value: The value that was compared; None if the devices have reported nothing to compare.
        result: Whether it passed; "undecided" without a value.
    """

    condition: Condition
    value: float | None
    result: Result

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {"condition": str(self.condition), "value": self.value, "result": self.result}

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.condition}: undecided, no device has reported requests to judge by"
        shown = {
            "share": f"{self.value * 100:.2g} %",
            "ratio": f"{self.value:.2f}x",
            "ms": f"{self.value:.3g} ms",
        }[self.condition.unit]
        return f"{self.condition}: {self.result} with {shown}"


def parse_gate(text: str) -> Gate:
    """Read a gate, such as "errors<1%, p99<1.2x"; without a condition on `failed`, no device may fail.

    Raises:
        InvalidValueError: A condition is malformed, or given twice.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    conditions = [_parse_condition(part, text) for part in parts]
    seen: set[tuple[str, str]] = set()
    for condition in conditions:
        key = (condition.what, condition.unit)
        if key in seen:
            raise InvalidValueError(f"gate {text!r}: {condition.what} is limited twice")
        seen.add(key)
    if not any(condition.what == "failed" for condition in conditions):
        conditions.append(Condition("failed", 0.0, "share", is_inclusive=True))
    return Gate(tuple(conditions))


def judge_wave(gate: Gate, measured: WaveMeasurement) -> tuple[ConditionResult, ...]:
    """Judge a wave whose devices have all been observed to the end."""
    results = []
    for condition in gate.conditions:
        value = _value(condition, measured)
        if value is None:
            results.append(ConditionResult(condition, None, "undecided"))
        else:
            results.append(ConditionResult(condition, value, "passed" if condition.allows(value) else "failed"))
    return tuple(results)


def find_early_failure(gate: Gate, measured: WaveMeasurement) -> ConditionResult | None:
    """Return a condition that a wave in progress can no longer meet; None if there is none.

    A device that failed stays failed. The share of errors fails early when the whole of its 95 % confidence interval
    (Wilson, Journal of the American Statistical Association 22, 1927) is beyond the limit.
    """
    for condition in gate.conditions:
        if condition.what == "failed":
            value: float | None = measured.failed / measured.devices if measured.devices else None
        elif condition.what == "errors":
            value = _wilson_lower(measured.errors, measured.requests)
        else:
            continue
        if value is not None and not condition.allows(value):
            return ConditionResult(condition, _value(condition, measured), "failed")
    return None


def _parse_condition(part: str, text: str) -> Condition:
    match = _CONDITION.fullmatch(part)
    if match is None:
        raise InvalidValueError(
            f"gate {text!r}: {part!r}: expected errors<1%, failed<2%, p50, p90 or p99<1.2x (of the value before) or "
            "<20ms; <= too"
        )
    what, unit, number = match["what"], match["unit"], float(match["number"])
    is_latency = what in _PERCENTILES
    if is_latency != (unit in {"x", "ms"}) or (not is_latency and unit != "%"):
        expected = "a ratio such as 1.2x or a time such as 20ms" if is_latency else "a percentage such as 1%"
        raise InvalidValueError(f"gate {text!r}: {part!r}: {what} takes {expected}")
    if unit == "%" and number > _PERCENT:
        raise InvalidValueError(f"gate {text!r}: {part!r}: expected at most 100%")
    is_inclusive = match["comparison"] == "<="
    if unit == "%":
        # Written so, 0.9 % is the number nearest to 0.009; 0.9 / 100 is not.
        return Condition(what, float(f"{match['number']}e-2"), "share", is_inclusive=is_inclusive)
    return Condition(what, number, "ratio" if unit == "x" else "ms", is_inclusive=is_inclusive)


def _value(condition: Condition, measured: WaveMeasurement) -> float | None:
    if condition.what == "failed":
        return measured.failed / measured.devices if measured.devices else 0.0
    if condition.what == "errors":
        return measured.errors / measured.requests if measured.requests else None
    values = (measured.ratios if condition.unit == "ratio" else measured.latencies_ms).get(condition.what, ())
    # The median: one device with a slow card or a hot case is no reason to stop a fleet.
    return statistics.median(values) if values else None


def _wilson_lower(count: int, total: int) -> float | None:
    if total == 0:
        return None
    share, square = count / total, _Z**2
    centre = share + square / (2 * total)
    spread = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return max(0.0, (centre - spread) / (1 + square / total))
