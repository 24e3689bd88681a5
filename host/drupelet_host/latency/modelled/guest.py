"""One inference between the marks of the timing model; a script that the emulated Python runs.

Arguments: the engine and the model file. The first inference packs weights and is not timed.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

from drupelet_shared.engines.base import example_inputs
from drupelet_shared.engines.registry import load_engine

# As the plugin knows it (deploy/emulator/cortex_a72/plugin.c).
_MARK, _START, _STOP = 0x4452, 1, 2


def main() -> None:
    """Load, warm up, and run once between marks."""
    engine, path = sys.argv[1:]
    session = load_engine(engine).load(Path(path), threads=1)
    inputs, outputs = example_inputs(session.inputs), [spec.name for spec in session.outputs]
    mark = ctypes.CDLL(None).getpriority
    session.run(inputs, outputs)
    gc.disable()
    mark(_MARK, _START)
    session.run(inputs, outputs)
    mark(_MARK, _STOP)


if __name__ == "__main__":
    main()
