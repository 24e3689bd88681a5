"""One inference between two marks; runs in the emulated interpreter with numpy and ONNX Runtime alone.

Arguments: the model, and its input's shape with commas.
"""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import onnxruntime

_MARK = 0x5049
_WARMUP = 2


def main() -> None:
    """Run the model a few times and mark the last."""
    path, shape = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    size = [int(length) for length in shape.split(",")]
    feed = {session.get_inputs()[0].name: np.random.default_rng(0).standard_normal(size, dtype=np.float32)}
    mark = ctypes.CDLL(None).getpriority
    for _ in range(_WARMUP):
        session.run(None, feed)
    mark(_MARK, 0)
    session.run(None, feed)
    mark(_MARK, 1)


if __name__ == "__main__":
    main()
