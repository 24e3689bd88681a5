"""When a package was made: now, or what reproducible builds ask for."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from drupelet_shared.errors import InvalidValueError

VARIABLE = "SOURCE_DATE_EPOCH"


def creation_time() -> datetime:
    """Return the time in SOURCE_DATE_EPOCH (reproducible-builds.org specification), else now; whole seconds, UTC.

    Raises:
        InvalidValueError: The variable holds no number of seconds.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidValueError(f"{VARIABLE} = {text!r}: expected seconds since 1970") from error
