"""How far a session is from golden vectors; runs in the emulated Python.

Arguments: the engine, the model file, the golden vectors. Prints the largest difference, as `check_golden` counts it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from drupelet_shared.engines.registry import load_engine
from drupelet_shared.package.golden import check_golden, load_golden


def main() -> None:
    """Run every sample, at one thread."""
    engine, model, golden = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    session = load_engine(engine).load(model, threads=1)
    sys.stdout.write(f"{check_golden(session, load_golden(golden), tolerance=float('inf'))}\n")


if __name__ == "__main__":
    main()
