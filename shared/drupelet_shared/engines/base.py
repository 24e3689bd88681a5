"""The protocols of an engine and of a session, a model loaded in an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from drupelet_shared.errors import ModelLoadError
from drupelet_shared.tensors import MAX_NAME_LENGTH, MAX_RANK, NUMPY_DTYPE, Datatype, TensorSpec

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]

# Of a name that is too long, in a message.
_SHOWN = 60


class Session(Protocol):
    """A model loaded in an engine. It must not run in two threads at once."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs as the engine sees them."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs as the engine sees them."""

    def run(self, inputs: Tensors, outputs: Sequence[str]) -> dict[str, Array]:
        """Compute the named outputs.

        Args:
            inputs: One array for each input, of its datatype and shape.
            outputs: Names of the outputs to compute.

        Returns:
            One array for each name in `outputs`.

        Raises:
            InferenceFailedError: The engine refused the inputs or failed.
            MemoryError: The process may not allocate what the inference needs.
        """


class Engine(Protocol):
    """An adapter over one inference runtime."""

    @property
    def name(self) -> str:
        """The engine's name, as variants in a manifest state it."""

    @property
    def version(self) -> str:
        """The runtime's version, for example "1.32.0"."""

    def load(self, path: Path, *, threads: int) -> Session:
        """Load a model file.

        Args:
            path: The file.
            threads: Threads of one inference.

        Returns:
            The loaded model.

        Raises:
            ModelLoadError: The runtime cannot load the file.
            MemoryError: The process may not allocate what the model needs.
        """


def make_spec(name: str, datatype: Datatype, shape: tuple[int, ...]) -> TensorSpec:
    """Return an input or output of a model file as packages and requests name it.

    Args:
        name: As the file has it.
        datatype: Of its elements.
        shape: Its sizes; `VARIABLE` for one that is open.

    Raises:
        ModelLoadError: The name is empty or too long, or there are too many axes.
    """
    if not name:
        raise ModelLoadError("an input or output has no name: give it one in the model file")
    if len(name) > MAX_NAME_LENGTH:
        raise ModelLoadError(
            f"the name of tensor {name[:_SHOWN]!r}... has {len(name)} characters: at most {MAX_NAME_LENGTH}; give "
            "inputs and outputs shorter names in the model file (in TFLite with a signature)"
        )
    if len(shape) > MAX_RANK:
        raise ModelLoadError(f"tensor {name!r} has {len(shape)} axes: at most {MAX_RANK}")
    return TensorSpec(name=name, datatype=datatype, shape=shape)


def example_inputs(specs: Sequence[TensorSpec], *, variable: int = 1) -> dict[str, Array]:
    """Return zero-filled arrays for the specs, with each variable dimension set to `variable`."""
    return {
        spec.name: np.zeros([variable if size < 0 else size for size in spec.shape], dtype=NUMPY_DTYPE[spec.datatype])
        for spec in specs
    }
