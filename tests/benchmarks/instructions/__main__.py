"""Counts the instructions of one inference of model files on the emulated Cortex-A72; JSON on standard output.

Needs what `deploy/emulator/prepare` makes. The engine follows from the file's suffix: .onnx or .tflite.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.instructions.counting import count
from benchmarks.instructions.emulator import FOLDER, EmulatedPi

_ENGINES = {".onnx": "onnxruntime", ".tflite": "litert"}


def main() -> None:
    """Count each file given."""
    parser = argparse.ArgumentParser(prog="instructions", description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--emulator", type=Path, default=FOLDER, metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--cpu", default="cortex-a72", help="another of QEMU's (default: %(default)s)")
    arguments = parser.parse_args()
    if unknown := [str(model) for model in arguments.models if model.suffix not in _ENGINES]:
        parser.error(f"{', '.join(unknown)}: expected files that end in {' or '.join(_ENGINES)}")
    pi = EmulatedPi(folder=arguments.emulator.resolve())
    print(json.dumps([_row(model, pi=pi, cpu=arguments.cpu) for model in arguments.models], indent=2))


def _row(model: Path, *, pi: EmulatedPi, cpu: str) -> dict[str, object]:
    engine = _ENGINES[model.suffix]
    start = time.monotonic()
    counted = count(model, engine, pi=pi, cpu=cpu)
    seconds = round(time.monotonic() - start, 1)
    return {"model": model.name, "engine": engine, "cpu": cpu, **asdict(counted), "counting_s": seconds}


if __name__ == "__main__":
    main()
