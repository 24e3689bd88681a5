"""Reads the layers of a model file in any format that the table covers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from drupelet_host.errors import ModelError
from drupelet_host.latency.modelled.layers import LayerShape
from drupelet_shared.engines.base import Tensors

# Each reader needs its engine's library, which takes time to load or is not installed.
_READERS: Mapping[str, str] = {
    ".tflite": "tflite_layers:read_tflite_layers",
    ".param": "ncnn_layers:read_ncnn_layers",
}
READABLE = (".onnx", *_READERS)


def read_file_layers(path: Path, *, feed: Tensors | None = None) -> tuple[LayerShape, ...]:
    """Return the layers of a model file by its suffix: .onnx, .tflite or .param.

    Args:
        path: The file.
        feed: The inputs of one inference, whose sizes count where an ONNX file leaves them open; without them a batch
            that is open is of 1.

    Raises:
        ModelError: The suffix is another one, the file cannot be read, or it has no layer or one that is not known.
        ImportError: The library that reads the format is not installed.
    """
    layers = _read(path, feed)
    if not layers:
        raise ModelError(f"{path.name}: no layer found")
    return layers


def _read(path: Path, feed: Tensors | None) -> tuple[LayerShape, ...]:
    if path.suffix == ".onnx":
        from drupelet_host.latency.modelled.onnx_layers import read_onnx_layers  # noqa: PLC0415 - onnx loads slowly

        return read_onnx_layers(path, feed=feed)
    if path.suffix not in _READERS:
        raise ModelError(f"{path.name}: expected a file that ends in {', '.join(READABLE)}")
    module, _, name = _READERS[path.suffix].partition(":")
    read: Callable[[Path], tuple[LayerShape, ...]] = getattr(import_module(f"{__package__}.{module}"), name)
    return read(path)
