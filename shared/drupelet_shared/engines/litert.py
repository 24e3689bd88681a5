"""The LiteRT adapter: CPU sessions over `ai_edge_litert` or, where that is missing, the older `tflite_runtime`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drupelet_shared.engines.base import Array, Tensors
from drupelet_shared.errors import InferenceFailedError, ModelLoadError
from drupelet_shared.tensors import NUMPY_DTYPE, VARIABLE, Datatype, TensorSpec

try:
    import ai_edge_litert as runtime
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    import tflite_runtime as runtime
    from tflite_runtime.interpreter import Interpreter

_DATATYPES = {np.dtype(dtype): datatype for datatype, dtype in NUMPY_DTYPE.items()}
# How the C++ library and XNNPACK say it; there is no exception of its own for it.
_OUT_OF_MEMORY = ("std::bad_alloc", "out of memory", "failed to allocate")

Details = Mapping[str, Any]


class LiteRtEngine:
    """Loads `.tflite` files into CPU sessions."""

    name = "litert"

    @property
    def version(self) -> str:
        """The installed LiteRT's version."""
        return str(runtime.__version__)

    def load(self, path: Path, *, threads: int) -> LiteRtSession:
        """Load a model file; see `Engine.load`."""
        try:
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
            return LiteRtSession(interpreter)
        except (ValueError, RuntimeError, MemoryError) as error:
            _raise_if_out_of_memory(error)
            raise ModelLoadError(f"{path.name}: LiteRT {self.version} cannot load it: {error}") from error


class LiteRtSession:
    """One model in LiteRT; it goes by the names of its signature, or by those of its tensors if it has none."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        inputs, outputs = _named_tensors(interpreter)
        self.inputs = tuple(_spec(name, details) for name, details in inputs.items())
        self.outputs = tuple(_spec(name, details) for name, details in outputs.items())
        self._input_indices = {name: int(details["index"]) for name, details in inputs.items()}
        self._output_indices = {name: int(details["index"]) for name, details in outputs.items()}
        self._shapes = {name: tuple(map(int, details["shape"])) for name, details in inputs.items()}

    def run(self, inputs: Tensors, outputs: Sequence[str]) -> dict[str, Array]:
        """Compute the named outputs; see `Session.run`."""
        # The interpreter would take what an earlier run left behind for an input that is missing.
        _check_names("inputs", inputs, expected=self._input_indices)
        _check_names("outputs", outputs, known=self._output_indices)
        try:
            self._resize(inputs)
            for name, array in inputs.items():
                self._interpreter.set_tensor(self._input_indices[name], array)
            self._interpreter.invoke()
            # get_tensor copies: the next run overwrites the interpreter's own memory.
            return {name: self._interpreter.get_tensor(self._output_indices[name]) for name in outputs}
        except (ValueError, RuntimeError, MemoryError) as error:
            _raise_if_out_of_memory(error)
            raise InferenceFailedError(f"LiteRT failed: {error}") from error
