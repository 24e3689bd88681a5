"""A model in a child process: the parent's side."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from drupelet_host.errors import MemoryLimitError
from drupelet_host.local_runtime.messages import Failure, Ready, Result
from drupelet_shared.engines.base import Array
from drupelet_shared.errors import InferenceFailedError, InputNameError, ModelLoadError
from drupelet_shared.inference.checks import check_inputs
from drupelet_shared.tensors import TensorSpec

_CLOSE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file and the engine that loads it."""

    path: Path
    engine: str


class LoadedModel:
    """A model that runs in its own limited process: call it with arrays, close it when done.

    Args:
        file: The model file and its engine.
        cores: The number of cores.
        memory_limit_bytes: The memory limit of the process; None for no limit.
    """

    def __init__(self, file: ModelFile, *, cores: int, memory_limit_bytes: int | None) -> None:
        self._name = file.path.name
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "drupelet_host.local_runtime.worker", str(file.path), "--engine", file.engine]
        command += ["--cores", str(cores), "--memory-limit", str(memory_limit_bytes or 0), "--fd", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self._connection = Connection(ours.detach())
        try:
            ready = self._exchange()
        except BaseException:
            self.close()
            raise
        assert isinstance(ready, Ready), ready
        self.inputs: tuple[TensorSpec, ...] = ready.inputs
        self.outputs: tuple[TensorSpec, ...] = ready.outputs
        self.threads = ready.threads

    def __repr__(self) -> str:
        inputs = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in self.inputs)
        return f"LoadedModel({self._name}: {inputs}; process {self.process_id})"

    @property
    def process_id(self) -> int:
        """The process that runs the model."""
        return self._process.pid

    def __call__(self, *arrays: Array) -> Array:
        """Run the model on one array for each input, batch first, and return its first output.

        Raises:
            RequestError: An array does not have the input's shape or datatype.
            MemoryLimitError: It needed more memory than it may have.
            InferenceFailedError: It failed otherwise.
        """
        if len(arrays) != len(self.inputs):
            raise InputNameError(f"{self._name}: got {len(arrays)} inputs: the model takes {len(self.inputs)}")
        inputs = {spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)}
        return self.run(inputs)[self.outputs[0].name]

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Run the model on named inputs and return all outputs by name.

        Raises:
            InferenceFailedError: The engine failed, or the process has ended.
        """
        inputs = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        check_inputs(inputs, self.inputs)
        if self._connection.closed:
            raise InferenceFailedError(f"{self._name}: its process has ended")
        result = self._exchange(inputs)
        assert isinstance(result, Result), result
        return result.outputs

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        try:
            # The worker ends by itself when its connection closes.
            self._process.wait(timeout=_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, request: dict[str, Array] | None = None) -> Any:  # noqa: ANN401 - a message of the worker's
        try:
            if request is not None:
                self._connection.send(request)
            message = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            self.close()
            raise InferenceFailedError(
                f"{self._name}: its process ended with status {self._process.returncode}"
            ) from error
        if not isinstance(message, Failure):
            return message
        kinds = {"memory": MemoryLimitError, "load": ModelLoadError, "run": InferenceFailedError}
        raise kinds[message.kind](f"{self._name}: {message.text}")
