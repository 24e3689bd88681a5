"""The records of roll-outs that clients publish: what was done, by which user, when and with which result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from drupelet_shared.names import Name, Sha256

RolloutPhase = Literal["baseline", "running", "held", "rolling_back", "stopped", "completed"]
WavePhase = Literal["waiting", "running", "held", "passed", "rolling_back", "rolled_back"]


class _Message(BaseModel):
    # A newer client may send fields that this version does not know.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class RolloutWave(_Message):
    """One wave of a roll-out.

    Attributes:
        number: Its number, from 1.
        until: The number of devices that have the version at its end, earlier waves included.
        phase: How far it is.
        devices: Devices that it has changed.
        healthy: Those of them that were active and healthy for the whole time.
        failed: Those that failed.
        offline: Those that were offline all the time.
        rolled_back: Those that were rolled back.
        started: When it started.
        ended: When it ended.
        results: The results of the gate's conditions, in words.
    """

    number: Annotated[int, Field(ge=1)]
    until: Annotated[int, Field(ge=1)]
    phase: WavePhase
    devices: int = 0
    healthy: int = 0
    failed: int = 0
    offline: int = 0
    rolled_back: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    results: tuple[str, ...] = ()


class RolloutRecord(_Message):
    """`rollouts/<id>`, retained: a roll-out, published by its client whenever it has changed.

    Attributes:
        id: Its identifier, which begins with the time of its start.
        model: The model.
        version: The version that devices get.
        digest: The package digest that they get.
        source: The source, without the query of a URL.
        phase: How far it is.
        reason: Why it was stopped or is held.
        by: The user and the host that started it.
        started: When it started, by the clock of that host.
        updated: When this record was made.
        selection: The conditions on devices, in words.
        request: What the client was asked to do, without the source; another client resumes the roll-out from it.
        gate: The gate's conditions.
        devices: Devices that take part.
        up_to_date: Devices of the selection that had the version already.
        waves: Its waves.
    """

    id: Name
    model: Name
    version: Name | None = None
    digest: Sha256 | None = None
    source: str
    phase: RolloutPhase
    reason: str | None = None
    by: str
    started: datetime
    updated: datetime
    selection: str
    request: dict[str, JsonValue] = Field(default_factory=dict)
    gate: str
    devices: int
    up_to_date: int = 0
    waves: tuple[RolloutWave, ...] = ()


class SignedRecord(_Message):
    """The payload on `rollouts/<id>`.

    Attributes:
        record: The record.
        signature: The signature over the record's canonical form, an OpenSSF Model Signing bundle as text; absent if
            the roll-out was made without a key.
    """

    record: RolloutRecord
    signature: str | None = None


def canonical_record(record: Mapping[str, Any]) -> bytes:
    """Return the bytes of a record that are signed: JSON with sorted keys and without white space, in UTF-8."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
