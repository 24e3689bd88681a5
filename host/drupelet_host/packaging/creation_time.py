"""The creation time of a package: now, or the time set for reproducible builds."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from drupelet_shared.errors import InvalidValueError

VARIABLE = "SOURCE_DATE_EPOCH"


def creation_time() -> datetime:
    """Return the time in SOURCE_DATE_EPOCH (specification of reproducible-builds.org), else now, in whole seconds UTC.

    Raises:
        InvalidValueError: The variable is not a number of seconds.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidValueError(f"{VARIABLE} = {text!r}: expected seconds since 1970") from error
