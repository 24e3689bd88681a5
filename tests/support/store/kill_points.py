"""Kills each operation on a store at each system call that changes files, and prints what was found as JSON.

A process of its own, since it forks and must have one thread: python -m support.store.kill_points PACKAGES WORK.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from drupelet_agent.store.store import Store
from support.store.store_operations import MODEL, Operations, check_store
from support.store.tracing import Traced, trace

RELEASES = {1, 2, 3}


def active_release(root: Path) -> int | None:
    """Return the release that a store says is active."""
    active = Store(root).record(MODEL).active
    return active.release if active else None


def try_operation(name: str, operations: Operations, work: Path) -> dict[str, Any]:
    """Kill one operation at every point; each time the store is whole, and the operation succeeds when done again."""
    operation = operations.by_name[name]
    start, there = work / "start", work / "there"
    operations.make(start, name)
    before, points, has_changed = active_release(start), 0, False
    while True:
        shutil.copytree(start, there)
        traced = trace(lambda: operation.run(Store(there)), kill_at=points)
        try:
            allowed = {operation.active} if has_changed or traced.status is not None else {before, operation.active}
            has_changed |= check_store(there, allowed=allowed, releases=RELEASES) != before
            if not has_changed:
                operation.run(Store(there))
                check_store(there, allowed={operation.active}, releases=RELEASES)
        except Exception as error:
            raise AssertionError(f"{name}, killed at call {points}, {_last(traced)}: {error}") from error
        shutil.rmtree(there)
        if traced.status is not None:
            assert traced.status == 0, f"{name} failed by itself"
            shutil.rmtree(start)
            return {"points": points, "calls": Counter(call.name for call in traced.calls)}
        points += 1


def _last(traced: Traced) -> str:
    return f"after {traced.calls[-1].name}" if traced.calls else "before the first"


def main() -> None:
    """Try every operation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("packages", type=Path)
    parser.add_argument("work", type=Path)
    arguments = parser.parse_args()
    operations = Operations(arguments.packages)
    found = {name: try_operation(name, operations, arguments.work) for name in operations.by_name}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
