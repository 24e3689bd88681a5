"""A runtime with one model in a process of its own, which answers one JSON line with one JSON line.

Arguments: the runtime, the model file, the threads, the input (.npy). Requests: {"answer": FILE} writes the scores
there; {"warm_up": N, "seconds": S} gives the times of as many inferences as fit, in milliseconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TextIO

import numpy as np

from benchmarks.engines.runtimes import Images, Infer, load

_FEWEST = 5


def main() -> None:
    """Serve until standard input ends."""
    runtime, model, threads, image_path = sys.argv[1:]
    replies = _keep_standard_output()
    image = np.load(image_path)
    infer = load(runtime, Path(model), threads=int(threads))
    infer(image)
    _say(replies, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        if "answer" in request:
            np.save(request["answer"], infer(image))
            _say(replies, {})
        else:
            _say(replies, {"times_ms": _time(infer, image, request["warm_up"], request["seconds"])})


def _time(infer: Infer, image: Images, warm_up: int, seconds: float) -> list[float]:
    for _ in range(warm_up):
        infer(image)
    times_ms: list[float] = []
    end_s = time.perf_counter() + seconds
    while len(times_ms) < _FEWEST or time.perf_counter() < end_s:
        start_s = time.perf_counter()
        infer(image)
        times_ms.append((time.perf_counter() - start_s) * 1e3)
    return times_ms


def _keep_standard_output() -> TextIO:
    """Replies alone go to standard output: runtimes print to it from native code."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return replies


def _say(replies: TextIO, reply: dict[str, object]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
