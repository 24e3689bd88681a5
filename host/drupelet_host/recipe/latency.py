"""How a recipe limits the latency, and the boards that measure it."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from drupelet_host.recipe.sources import ExistingFile, Section
from drupelet_shared.contract.topics import DEFAULT_PREFIX
from drupelet_shared.names import Name

_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s)?(?:\s+(p50|p99))?\s*", re.ASCII)
_EXPECTED = 'expected a time such as "20 ms" or "20 ms p99", or a ratio to the original such as 0.5 or "0.5 p99"'
_MS_PER_S = 1e3


class LatencyLimit(BaseModel):
    """A limit on the latency of one inference.

    Attributes:
        value: Milliseconds, or a ratio to the original's latency in the same engine.
        unit: Which of the two.
        percentile: The percentile that is limited.
    """

    model_config = ConfigDict(frozen=True)

    value: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    unit: Literal["ms", "ratio"] = "ratio"
    percentile: Literal["p50", "p99"] = "p50"

    def __str__(self) -> str:
        unit = " ms" if self.unit == "ms" else ""
        # Without an exponent and in full: what is printed and kept can be read again as the same limit.
        value = f"{Decimal(repr(self.value)).normalize():f}"
        return f"{value}{unit}{'' if self.percentile == 'p50' else ' p99'}"


def parse_latency_limit(value: object) -> object:
    """Read a number or a text such as "20 ms p99"; a limit is returned as it is.

    Raises:
        ValueError: The value is neither, or its number is zero, negative or not finite.
    """
    if isinstance(value, LatencyLimit):
        return value
    text = value
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = f"{Decimal(value):f}"
    match = _TEXT.fullmatch(text) if isinstance(text, str) else None
    # A number of hundreds of digits is infinite as a float.
    if match is None or not 0 < float(match[1]) < math.inf:
        raise ValueError(_EXPECTED)
    number, unit, percentile = float(match[1]), match[2], match[3] or "p50"
    if unit == "s":
        number *= _MS_PER_S
    return LatencyLimit.model_validate(
        {"value": number, "unit": "ratio" if unit is None else "ms", "percentile": percentile}
    )


# In a recipe, lineage and cache keys a limit is the text or the number that a person writes.
StatedLatency = Annotated[
    LatencyLimit,
    BeforeValidator(parse_latency_limit),
    PlainSerializer(lambda limit: limit.value if (limit.unit, limit.percentile) == ("ratio", "p50") else str(limit)),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|s)?(\s+(p50|p99))?\s*$"},
            ],
            "examples": ["20 ms", "20 ms p99", 0.5],
        }
    ),
]


class BoardsSection(Section):
    """[target.boards]: real boards of the target's kind that time candidates; each must allow it (`trust.measure`).

    Attributes:
        devices: The names of the devices; several share the work.
        broker: The URL of their broker: `mqtt://[user@]host[:port]` or `mqtts://...`.
        prefix: The first levels of the topics.
        password_file: A file whose first line is the password of the URL's user; the variable DRUPELET_PASSWORD by
            default.
        ca_file: The certificate authority of an `mqtts://` broker; the system's authorities by default.
        cert_file: The client certificate.
        key_file: The key of the client certificate.
        max_seconds: The maximum time that a board spends in inferences of one model.
        max_wait_s: The maximum time that a board waits until it is quiet, in one measurement.
        patience_s: The time without a sign of a board after which it counts as gone.
    """

    devices: Annotated[tuple[Name, ...], Field(min_length=1)]
    broker: str = "mqtt://localhost:1883"
    prefix: str = DEFAULT_PREFIX
    password_file: ExistingFile | None = None
    ca_file: ExistingFile | None = None
    cert_file: ExistingFile | None = None
    key_file: ExistingFile | None = None
    max_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    max_wait_s: Annotated[float, Field(ge=0, le=3600)] = 120.0
    patience_s: Annotated[float, Field(gt=0)] = 300.0
