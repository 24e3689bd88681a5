"""What a result was measured on, in one sentence, and whether the machine was quiet enough for its times to count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of the load average at the start, for each core: a benchmark's own work comes later.
_QUIET_LOAD = 0.5


def describe_machine(machine: Mapping[str, Any]) -> str:
    """Return the facts that every result carries."""
    packages = machine.get("packages", {})
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    facts = [
        f"{machine['cores']} cores of {machine['cpu']} ({machine['architecture']})",
        f"Linux {machine['kernel']}",
        f"Python {machine['python']}",
        f"load {machine['load_average_at_start']:g} at the start",
        *([versions] if versions else []),
    ]
    date = machine.get("date", "")[:10]
    return f"Measured {f'on {date} ' if date else ''}on {'; '.join(facts)}."


def is_quiet(machine: Mapping[str, Any]) -> bool:
    """Return whether little else ran when the measurement began."""
    return bool(machine["load_average_at_start"] <= _QUIET_LOAD * machine["cores"])


def warn_if_busy(machine: Mapping[str, Any]) -> list[str]:
    """Return a paragraph for the page where the machine was busy, or none."""
    warning = "**The machine was busy: these times show that the benchmark works and no more.**"
    return [] if is_quiet(machine) else [warning]
