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
        preload: Libraries that the tests use, which are loaded once for all mutants.
        marks: Which of the tests run, by their marks.
    """

    root: str
    folder: str
    tests: tuple[str, ...]
    preload: tuple[str, ...] = ()
    marks: str = "not mosquitto"

    def modules(self) -> list[Path]:
        """List the modules to mutate, relative to `root`."""
        base = REPOSITORY / self.root
        return sorted(path.relative_to(base) for path in (base / self.folder).rglob("*.py"))


_AGENT = ("hypothesis", "numpy", "paho.mqtt.client", "pydantic")
_COMPILER = ("torch", "torch_pruning", "onnx", "onnxruntime", "pydantic")

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
        preload=_AGENT,
    ),
    "messaging": Target(
        "agent",
        "drupelet_agent/messaging",
        ("tests/unit/agent/messaging", "tests/property/test_acknowledgement_properties.py"),
        preload=_AGENT,
    ),
    "mqtt": Target(
        "agent",
        "drupelet_agent/mqtt",
        ("tests/unit/agent/mqtt", "tests/property/test_outgoing_properties.py"),
        preload=_AGENT,
    ),
    "store": Target("agent", "drupelet_agent/store", ("tests/unit/agent/store",), preload=_AGENT),
    "selection": Target(
        "host",
        "drupelet_host/selection",
        (
            *(
                f"tests/unit/host/selection/test_{name}.py"
                for name in (
                    "pareto",
                    "frontier",
                    "metric_limit",
                    "metric_floor",
                    "variants",
                    "stated_variants",
                    "constraints",
                    "continuation",
                    "failure",
                    "dominance",
                    "judging",
                    "judge_latency",
                )
            ),
            "tests/property/test_pareto_properties.py",
            "tests/unit/host/selection/test_candidate_judge.py",
        ),
        preload=_COMPILER,
    ),
    "search": Target(
        "host",
        "drupelet_host/pruning/search",
        (
            "tests/unit/host/pruning/test_search_budget.py",
            "tests/unit/host/pruning/test_search_rules.py",
            "tests/unit/host/pruning/test_judged.py",
            "tests/unit/host/pruning/test_channel_choice.py",
            "tests/unit/host/pruning/test_narrow_miss.py",
            "tests/unit/host/pruning/test_time_cost.py",
            "tests/unit/host/pruning/test_search.py",
        ),
        preload=_COMPILER,
        # The rules are tested alone; whole searches take many times as long and notice little more.
        marks="not mosquitto and not slow",
    ),
}
