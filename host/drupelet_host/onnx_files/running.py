"""Runs an ONNX model on samples, one inference each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from drupelet_host.data.samples import Tensors
from drupelet_host.errors import DataError
from drupelet_host.onnx_files.graph import Array, copy_model, first_line, open_session


def run_samples(
    model: onnx.ModelProto | Path,
    samples: Sequence[Tensors],
    *,
    optimisation: ort.GraphOptimizationLevel = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
) -> Iterator[dict[str, Array]]:
    """Yield the outputs of a model for each sample.

    Args:
        model: The model, or the path of its file.
        samples: The inputs of one inference each.
        optimisation: ONNX Runtime's level of graph optimisation; the default gives the same graph on every processor.

    Raises:
        DataError: The model fails on a sample.
        ExportError: ONNX Runtime cannot load the model.
    """
    session = _open_running(model, samples[:1], optimisation)
    names = [output.name for output in session.get_outputs()]
    for position, sample in enumerate(samples):
        try:
            answers = session.run(names, {name: np.asarray(values) for name, values in sample.items()})
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise DataError(f"calibration sample {position} does not run: {first_line(error)}") from error
        yield dict(zip(names, answers, strict=True))


def note_shapes(model: onnx.ModelProto, sample: Tensors) -> None:
    """Note the type and shape that every tensor of a graph has in one inference, in place.

    Args:
        model: The model.
        sample: The inputs of the inference.

    Raises:
        DataError: The model fails on the sample.
        ExportError: ONNX Runtime cannot load the model.
    """
    observed = copy_model(model)
    del observed.graph.output[:]
    names = dict.fromkeys(name for node in model.graph.node for name in node.output if name)
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    (values,) = run_samples(observed, [sample], optimisation=ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    del model.graph.value_info[:]
    model.graph.value_info.extend(
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(tensor.dtype), tensor.shape)
        for name, tensor in values.items()
        # Sequences and optional values have no shape.
        if hasattr(tensor, "shape")
    )


def _open_running(
    model: onnx.ModelProto | Path, samples: Sequence[Tensors], optimisation: ort.GraphOptimizationLevel
) -> ort.InferenceSession:
    """Open a model with optimisations, or without where those give what ONNX Runtime cannot run.

    Its basic level gives a DequantizeLinear of weights without a zero point one of another shape.
    """
    session = open_session(model, optimisation=optimisation)
    names = [output.name for output in session.get_outputs()]
    for sample in samples:
        try:
            session.run(names, {name: np.asarray(values) for name, values in sample.items()})
        except Exception:  # noqa: BLE001 - ONNX Runtime's exceptions share no base class of their own
            return open_session(model, optimisation=ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    return session
