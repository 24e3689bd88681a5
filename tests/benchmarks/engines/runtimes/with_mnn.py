"""MNN with its session interface; files with int8 weights run as MNN's guide says, with memory "low"."""

from __future__ import annotations

from pathlib import Path

import MNN  # type: ignore[import-not-found]  # in an environment of its own
import numpy as np

from benchmarks.engines.runtimes import Images, Infer

_INT8_MARK = "int8"


def load(_: str, path: Path, *, threads: int) -> Infer:
    """See `benchmarks.engines.runtimes.load`."""
    interpreter = MNN.Interpreter(str(path))
    # "high" keeps float32 where the processor has half precision; "low" memory leaves int8 weights as they are.
    settings = {"precision": "normal", "memory": "low"} if _INT8_MARK in path.stem else {"precision": "high"}
    session = interpreter.createSession({"backend": "CPU", "numThread": threads, **settings})
    taken, given = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)
    scores = np.zeros(given.getShape(), np.float32)
    result = MNN.Tensor(given.getShape(), MNN.Halide_Type_Float, scores, MNN.Tensor_DimensionType_Caffe)

    def infer(image: Images) -> Images:
        # The interpreter must outlive its session, and is kept by this use of it.
        source = MNN.Tensor(image.shape, MNN.Halide_Type_Float, image, MNN.Tensor_DimensionType_Caffe)
        taken.copyFrom(source)
        interpreter.runSession(session)
        given.copyToHostTensor(result)
        return np.array(result.getNumpyData())

    return infer
