"""Times of model files by the timing model, kept beside the files."""

from __future__ import annotations

import sys
from pathlib import Path

from drupelet_host.latency.modelled.exact import run_exactly
from drupelet_host.latency.modelled.layers import EngineName
from drupelet_shared.files import write_atomically


def time_file(path: Path, engine: EngineName, *, emulator: Path) -> float:
    """Return the unscaled milliseconds of a file; a finished one is kept beside it.

    Args:
        path: The model file.
        engine: What runs it.
        emulator: What `deploy/emulator/prepare` made.
    """
    kept = path.with_name(f"{path.name}.ms")
    if not kept.is_file():
        milliseconds = run_exactly(path, engine, emulator=emulator.resolve())
        print(f"{path.parent.name} {engine} {path.name}: {milliseconds:.3f} ms", file=sys.stderr, flush=True)
        write_atomically(kept, f"{milliseconds}\n".encode())
    return float(kept.read_text(encoding="utf-8"))
