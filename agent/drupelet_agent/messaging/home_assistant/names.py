"""Names of devices and models as Home Assistant's identifiers, distinct for distinct names.

Home Assistant allows letters, digits, `_` and `-` in the last levels of a discovery topic; our names may contain `.`
too. A name that would become equal to another gets a suffix from its hash: `cam.1` and `cam_1` stay two devices.
"""

from __future__ import annotations

import hashlib

_SUFFIX_CHARACTERS = 8


def escape_name(name: str) -> str:
    """Return a name with each `.` as `_`, and then the first 8 digits of its SHA-256; other names stay as they are."""
    return f"{name.replace('.', '_')}_{_suffix(name)}" if "." in name else name


def unique_prefix(device: str) -> str:
    """Return what the unique ids of a device's sensors start with.

    Without a suffix the device `cam` with the sensor `agent_memory` and the device `cam_agent` with the sensor `memory`
    would share an id.
    """
    return f"drupelet_{device}_{_suffix(device)}" if "_" in device else f"drupelet_{device}"


def _suffix(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_SUFFIX_CHARACTERS]
