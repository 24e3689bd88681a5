"""The results of the benchmarks of scale in one file, each with the machine and the load it was measured at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results/scale.json"


def record(section: str, value: dict[str, Any], *, path: Path = RESULTS) -> None:
    """Replace one section of the file and keep the others.

    Args:
        section: The section's name.
        value: What was measured, with the machine.
        path: The file; made if there is none.
    """
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results[section] = value
    path.write_text(json.dumps(dict(sorted(results.items())), indent=2) + "\n", encoding="utf-8")
