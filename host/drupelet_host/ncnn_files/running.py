"""Runs ncnn models over samples and reads any tensor inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drupelet_host.errors import DataError, ExportError
from drupelet_shared.engines.base import Array, Tensors
from drupelet_shared.engines.files import WEIGHTS_SUFFIX
from drupelet_shared.engines.ncnn_signature import NcnnSignature, NcnnTensor


def run_tensors(path: Path, samples: Sequence[Tensors], tensors: Sequence[str]) -> Iterator[Mapping[str, Array]]:
    """Yield the values of tensors inside a model for each sample, without a batch dimension.

    Args:
        path: The graph file.
        samples: One inference each, by input name, batch first.
        tensors: The names of tensors in the graph.

    Raises:
        ExportError: ncnn cannot load the model.
        DataError: A sample does not run.
    """
    # Reading and writing the files needs no ncnn.
    from drupelet_shared.engines.ncnn_session import load_graph, make_net  # noqa: PLC0415 - an optional engine

    text = path.read_text(encoding="utf-8")
    signature = NcnnSignature.parse(text)
    net = make_net(1)
    # Every tensor is kept until it has been read.
    net.opt.lightmode = False
    if load_graph(net, text) != 0 or net.load_model(str(path.with_suffix(WEIGHTS_SUFFIX))) != 0:
        raise ExportError(f"{path.name}: ncnn cannot load it")
    for position, sample in enumerate(samples):
        extractor = net.create_extractor()
        extractor.set_light_mode(False)
        if missing := sorted({tensor.spec.name for tensor in signature.inputs} - sample.keys()):
            raise DataError(
                f"calibration sample {position} lacks {', '.join(missing)}: it has {', '.join(sample) or 'no input'}"
            )
        for tensor in signature.inputs:
            extractor.input(tensor.blob, _to_mat(sample[tensor.spec.name], tensor))
        values = {}
        for name in tensors:
            status, mat = extractor.extract(name)
            if status != 0:
                raise DataError(f"calibration sample {position} does not run: ncnn gives status {status} at {name}")
            values[name] = np.array(mat)
        yield values


def _to_mat(array: Array, tensor: NcnnTensor) -> Any:  # noqa: ANN401 - ncnn ships no types
    from drupelet_shared.engines.ncnn_session import runtime  # noqa: PLC0415 - an optional engine

    sample = array if tensor.batch_axis is None else array.take(0, axis=tensor.batch_axis)
    return runtime.Mat(np.ascontiguousarray(sample)).clone()
