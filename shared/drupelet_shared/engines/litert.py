"""The LiteRT adapter: CPU sessions over `ai_edge_litert` or, where that is missing, the older `tflite_runtime`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drupelet_shared.engines.base import Array, Tensors, make_spec
from drupelet_shared.errors import InferenceFailedError, ModelLoadError
from drupelet_shared.tensors import NUMPY_DTYPE, VARIABLE, TensorSpec

try:
    import ai_edge_litert as runtime
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    import tflite_runtime as runtime
    from tflite_runtime.interpreter import Interpreter

_DATATYPES = {np.dtype(dtype): datatype for datatype, dtype in NUMPY_DTYPE.items()}
# Measured under a memory limit: the arena fails without a word, XNNPACK while it fits its buffers to the shapes, and
# those a file that ran on the host has right.
_OUT_OF_MEMORY = "std::bad_alloc"
_OUT_OF_MEMORY_ON_LOAD = "XNNPack delegate failed to reshape runtime"

Details = Mapping[str, Any]


class LiteRtEngine:
    """Loads `.tflite` files into CPU sessions."""

    name = "litert"

    @property
    def version(self) -> str:
        """The installed LiteRT's version."""
        return str(runtime.__version__)

    def load(self, path: Path, *, threads: int) -> LiteRtSession:
        """Load a model file; see `Engine.load`.

        Raises:
            ModelLoadError: LiteRT cannot load the file.
            MemoryError: The process may not allocate what the model needs.
        """
        try:
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
            return LiteRtSession(interpreter)
        except ModelLoadError as error:
            raise ModelLoadError(f"{path.name}: {error}") from error
        except (ValueError, RuntimeError, MemoryError) as error:
            _raise_if_out_of_memory(error, signs=(_OUT_OF_MEMORY, _OUT_OF_MEMORY_ON_LOAD))
            raise ModelLoadError(f"{path.name}: LiteRT {self.version} cannot load it: {error}") from error


class LiteRtSession:
    """One model in LiteRT, with the tensor names of its signature, or of the graph where it has no signature."""

    def __init__(self, interpreter: Interpreter) -> None:
        """Wrap an interpreter.

        Args:
            interpreter: The loaded model, its tensors allocated.

        Raises:
            ModelLoadError: The file has several signatures, or a tensor of a type that the protocol lacks.
        """
        self._interpreter = interpreter
        inputs, outputs = _named_tensors(interpreter)
        self.inputs = tuple(_spec(name, details) for name, details in inputs.items())
        self.outputs = tuple(_spec(name, details) for name, details in outputs.items())
        self._input_indices = {name: int(details["index"]) for name, details in inputs.items()}
        self._output_indices = {name: int(details["index"]) for name, details in outputs.items()}
        self._shapes: dict[str, tuple[int, ...]] = {name: _shape(details["shape"]) for name, details in inputs.items()}

    def run(self, inputs: Tensors, outputs: Sequence[str]) -> dict[str, Array]:
        """Compute the named outputs; see `Session.run`.

        Raises:
            InferenceFailedError: An input is missing or unknown, an output is unknown, or LiteRT failed.
            MemoryError: The process may not allocate what the inference needs.
        """
        # For a missing input the interpreter would use the values of an earlier run.
        if set(inputs) != set(self._input_indices):
            raise InferenceFailedError(f"inputs {_list(inputs)}: the model takes {_list(self._input_indices)}")
        if unknown := set(outputs) - set(self._output_indices):
            raise InferenceFailedError(f"outputs {_list(unknown)}: the model gives {_list(self._output_indices)}")
        try:
            self._resize(inputs)
            for name, array in inputs.items():
                self._interpreter.set_tensor(self._input_indices[name], array)
            self._interpreter.invoke()
            # get_tensor copies: the next run overwrites the interpreter's own memory.
            return {name: self._interpreter.get_tensor(self._output_indices[name]) for name in outputs}
        except (ValueError, RuntimeError, MemoryError) as error:
            _raise_if_out_of_memory(error, signs=(_OUT_OF_MEMORY,))
            raise InferenceFailedError(f"LiteRT failed: {error}") from error

    def _resize(self, inputs: Tensors) -> None:
        requested = {name: array.shape for name, array in inputs.items()}
        if requested == self._shapes:
            return
        # Reset first: after a failure the interpreter needs another allocation before it can run.
        self._shapes = {}
        for name, shape in requested.items():
            self._interpreter.resize_tensor_input(self._input_indices[name], shape, strict=True)
        self._interpreter.allocate_tensors()
        self._shapes = requested


def _named_tensors(interpreter: Interpreter) -> tuple[dict[str, Details], dict[str, Details]]:
    signatures = list(interpreter.get_signature_list())
    if len(signatures) > 1:
        raise ModelLoadError(f"the file has {len(signatures)} signatures ({_list(signatures)}): expected at most 1")
    if signatures:
        runner = interpreter.get_signature_runner(signatures[0])
        return runner.get_input_details(), runner.get_output_details()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    return {d["name"]: d for d in inputs}, {d["name"]: d for d in outputs}


def _spec(name: str, details: Details) -> TensorSpec:
    dtype = np.dtype(details["dtype"])
    if dtype not in _DATATYPES:
        known = _list(str(known) for known in _DATATYPES)
        raise ModelLoadError(f"tensor {name!r} has type {dtype}: expected one of {known}")
    shape = tuple(size if size >= 0 else VARIABLE for size in _shape(details["shape_signature"]))
    return make_spec(name, _DATATYPES[dtype], shape)


def _shape(sizes: Array) -> tuple[int, ...]:
    return tuple(int(size) for size in sizes)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _raise_if_out_of_memory(error: Exception, *, signs: tuple[str, ...]) -> None:
    message = str(error)
    if isinstance(error, MemoryError) or not message or any(sign in message for sign in signs):
        raise MemoryError(f"LiteRT: {message or 'an allocation failed'}") from error
