"""Child process that loads a model, runs it, and prints its own peak resident memory in bytes."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from drupelet_shared.engines.registry import load_engine
from drupelet_shared.process_memory import read_memory

_RUNS = 3


def main() -> None:
    """Run the model named on the command line and print the peak memory."""
    parser = argparse.ArgumentParser(prog="python -m drupelet_host.evaluation.memory_worker", description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("feed", type=Path, help="An NPZ file with one array for each input.")
    parser.add_argument("--engine", required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    session = load_engine(options.engine).load(options.path, threads=options.threads)
    with np.load(options.feed, allow_pickle=False) as arrays:
        inputs = dict(arrays)
    for _ in range(_RUNS):
        session.run(inputs, [spec.name for spec in session.outputs])
    print(read_memory().peak_bytes)  # noqa: T201 - the answer to the parent process


if __name__ == "__main__":
    main()
