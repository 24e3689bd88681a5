"""Inferences between marks for the counting plugin; runs in the emulated Python with any runtime of the comparison.

Arguments: the runtime, the model file, the input (.npy), where to write the scores, how many inferences are marked.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.engines.runtimes import load
from benchmarks.instructions.marks import mark_inferences


def main() -> None:
    """Write the scores, then mark."""
    runtime, model, image_path, scores_path, runs = sys.argv[1:]
    image = np.load(image_path)
    infer = load(runtime, Path(model), threads=1)
    np.save(scores_path, infer(image))
    mark_inferences(lambda: infer(image), model=Path(model), runs=int(runs), done=1)


if __name__ == "__main__":
    main()
