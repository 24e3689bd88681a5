"""The folders that are mutated, and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from support.source.tree import REPOSITORY


@dataclass(frozen=True)
class Target:
    """One folder of source code with its tests.

    Attributes:
        root: The folder on the import path, relative to the repository.
        folder: The folder whose modules are mutated, relative to `root`.
        tests: Test files and folders, relative to the repository, the fastest first.
    """

    root: str
    folder: str
    tests: tuple[str, ...]

    def modules(self) -> list[Path]:
        """List the modules to mutate, relative to `root`."""
        base = REPOSITORY / self.root
        return sorted(path.relative_to(base) for path in (base / self.folder).rglob("*.py"))


TARGETS: dict[str, Target] = {
    "planning": Target(
        "agent",
        "drupelet_agent/planning",
        (
            "tests/unit/agent/planning",
            "tests/property/test_planner_properties.py",
            "tests/property/test_residency_properties.py",
            "tests/property/test_retune_properties.py",
            "tests/property/test_share_properties.py",
        ),
    ),
    "messaging": Target(
        "agent",
        "drupelet_agent/messaging",
        ("tests/unit/agent/messaging", "tests/property/test_acknowledgement_properties.py"),
    ),
    "mqtt": Target(
        "agent", "drupelet_agent/mqtt", ("tests/unit/agent/mqtt", "tests/property/test_outgoing_properties.py")
    ),
    "store": Target("agent", "drupelet_agent/store", ("tests/unit/agent/store",)),
    "selection": Target("host", "drupelet_host/selection", ("tests/unit/host/selection",)),
    "search": Target(
        "host",
        "drupelet_host/pruning/search",
        ("tests/unit/host/pruning/test_search_budget.py", "tests/unit/host/pruning/test_search.py"),
    ),
}
