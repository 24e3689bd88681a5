"""Writes the shape of every tensor into an ncnn graph, so that ncnn prepares weights for those shapes alone.

Without shapes, a convolution is prepared for each of ncnn's algorithms, and one of them is picked at run time: ResNet18
in float32 then takes 226 MB instead of 163 MB, twice as long to load, and a tenth longer to run (measured on x86-64).
Source: ncnn's documentation, "param and model file structure": key 30 of a layer holds the shapes of its outputs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from drupelet_host.errors import DataError
from drupelet_host.ncnn_files.graph import NcnnGraph, NcnnLayer, parse_graph
from drupelet_host.ncnn_files.running import run_tensors
from drupelet_host.ncnn_files.writing import write_pair
from drupelet_shared.engines.files import WEIGHTS_SUFFIX
from drupelet_shared.engines.ncnn_signature import NcnnSignature
from drupelet_shared.tensors import VARIABLE

# A parameter that is an array has the key -23300 - key.
_SHAPES = -23330
_LARGEST_DIMENSIONS = 3

Shape = tuple[int, ...]


def observe_shapes(path: Path) -> dict[str, Shape]:
    """Run a model once on zeros and return the shape of every tensor by name, without a batch dimension.

    Args:
        path: The graph file, its weights beside it.

    Raises:
        ExportError: ncnn cannot load the model.
        DataError: The model does not run.
    """
    text = path.read_text(encoding="utf-8")
    graph, signature = parse_graph(text), NcnnSignature.parse(text)
    sample = {
        tensor.spec.name: np.zeros([1 if size == VARIABLE else size for size in tensor.spec.shape], np.float32)
        for tensor in signature.inputs
    }
    names = [name for layer in graph.layers for name in layer.outputs]
    (values,) = run_tensors(path, [sample], names)
    return {name: array.shape for name, array in values.items()}


def write_shapes(path: Path) -> None:
    """Write the shapes of a model's tensors into its graph; a model that does not run is left as it is.

    Args:
        path: The graph file, its weights beside it.

    Raises:
        ExportError: ncnn cannot load the model.
    """
    text = path.read_text(encoding="utf-8")
    graph, signature = parse_graph(text), NcnnSignature.parse(text)
    try:
        shapes = observe_shapes(path)
    except DataError:
        return
    layers = tuple(_with_shapes(layer, [shapes[name] for name in layer.outputs]) for layer in graph.layers)
    weights = path.with_suffix(WEIGHTS_SUFFIX).read_bytes()
    write_pair(path, NcnnGraph(layers), weights, signature=signature)


def _with_shapes(layer: NcnnLayer, shapes: list[Shape]) -> NcnnLayer:
    if not all(0 < len(shape) <= _LARGEST_DIMENSIONS for shape in shapes):
        return layer
    numbers = [number for shape in shapes for number in _describe(shape)]
    return replace(layer, parameters={**layer.parameters, _SHAPES: ",".join(map(str, [len(numbers), *numbers]))})


def _describe(shape: Shape) -> list[int]:
    """The number of dimensions, then width, height and channels."""
    return [len(shape), *reversed(shape), *[1] * (_LARGEST_DIMENSIONS - len(shape))]
