"""Pieces of the benchmark that are done, as files: a run that was ended goes on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import RootModel, TypeAdapter, ValidationError

from benchmarks.agent.report import AgentResults
from benchmarks.machine import read_machine
from drupelet_shared.files import write_atomically

_CHECKOUT = Path(__file__).resolve().parents[3]


class Kept:
    """One file for each piece, which counts only for the same checkout, machine and options."""

    def __init__(self, work: Path, *, quick: bool, soak_minutes: float, load: float) -> None:
        self._work = work
        machine = read_machine()
        self._key = {
            "cpu": machine["cpu"],
            "cores": machine["cores"],
            "commit": _commit(),
            "quick": quick,
            "soak_minutes": soak_minutes,
            "load": load,
        }

    def keep(self, name: str, found: object) -> None:
        """Remember a piece."""
        value = RootModel[Any](found).model_dump(mode="json")
        text = json.dumps({"key": self._key, "machine": read_machine(), "result": value}, indent=2)
        write_atomically(self._path(name), f"{text}\n".encode())

    def recall(self, name: str, field: str) -> object | None:
        """Return a piece of an earlier run as the member of the results; None if it was made under other conditions."""
        try:
            kept = json.loads(self._path(name).read_bytes())
            if kept["key"] != self._key:
                return None
            found: object = TypeAdapter(get_type_hints(AgentResults)[field]).validate_python(kept["result"])
        except (OSError, KeyError, ValueError, ValidationError):
            return None
        return found

    def _path(self, name: str) -> Path:
        return self._work / f"{name}.json"


def _commit() -> str:
    """Return the checkout's commit, and whether it was changed; empty where it is no checkout."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(words, cwd=_CHECKOUT, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
