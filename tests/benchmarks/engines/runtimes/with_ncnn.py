"""ncnn with its own Python module, in float32 throughout."""

from __future__ import annotations

from pathlib import Path

import ncnn  # type: ignore[import-not-found]  # in an environment of its own
import numpy as np

from benchmarks.engines.runtimes import Images, Infer

# As pnnx names the tensors.
_INPUT, _OUTPUT = "in0", "out0"
# Half precision is on by default where the processor has it, which would not be the same network.
_HALF_PRECISION = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage")


def load(_: str, path: Path, *, threads: int) -> Infer:
    """See `benchmarks.engines.runtimes.load`; `path` ends in .bin and stands beside its .param file."""
    net = ncnn.Net()
    net.opt.num_threads = threads
    for option in _HALF_PRECISION:
        setattr(net.opt, option, False)
    # They return 0, or -1 and print why.
    if net.load_param(str(path.with_suffix(".param"))) or net.load_model(str(path)):
        raise OSError(f"{path}: ncnn cannot load it")

    def infer(image: Images) -> Images:
        extractor = net.create_extractor()
        extractor.input(_INPUT, ncnn.Mat(image[0]))
        _, scores = extractor.extract(_OUTPUT)
        return np.array(scores)[None]

    return infer
