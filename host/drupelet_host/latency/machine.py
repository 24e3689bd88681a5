"""Describes the machine that measured, so that its times are not mistaken for the device's."""

from __future__ import annotations

import platform
from pathlib import Path

_MEASURED_ON = "measured on "
WORKSTATION = f"{_MEASURED_ON}this machine"
_MODELLED_FOR = "modelled for "


def describe_machine() -> str:
    """Return the processor and architecture, for example "Intel(R) Xeon(R) Processor (x86_64)"."""
    return f"{_processor()} ({platform.machine()})"


def modelled_for(target: str) -> str:
    """Return the beginning of the label of a source that models a target's processor.

    Args:
        target: The target's name.
    """
    return f"{_MODELLED_FOR}{target}"


def is_modelled(source: str) -> bool:
    """Return whether a source models a processor: what it tells was not measured.

    Args:
        source: The label of the source.
    """
    return source.startswith(_MODELLED_FOR)


def describe_place(source: str) -> str:
    """Return where a latency source measured: this machine's name, the device's, or what a model stands for.

    Args:
        source: The label of the source.
    """
    if source == WORKSTATION:
        return describe_machine()
    return source.removeprefix(_MEASURED_ON)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.system()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.system()
