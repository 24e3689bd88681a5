"""The ONNX Runtime adapter: CPU sessions with a fixed number of threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

# Official builds since 1.29 write an identifier to the disk and report to their maker, unless told not to beforehand.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort

from drupelet_shared.contract.references import load_reference
from drupelet_shared.engines.base import Array, Tensors, make_spec
from drupelet_shared.errors import InferenceFailedError, ModelLoadError
from drupelet_shared.tensors import VARIABLE, Datatype, TensorSpec

_DATATYPES = {
    "tensor(bool)": Datatype.BOOL,
    "tensor(uint8)": Datatype.UINT8,
    "tensor(uint16)": Datatype.UINT16,
    "tensor(uint32)": Datatype.UINT32,
    "tensor(uint64)": Datatype.UINT64,
    "tensor(int8)": Datatype.INT8,
    "tensor(int16)": Datatype.INT16,
    "tensor(int32)": Datatype.INT32,
    "tensor(int64)": Datatype.INT64,
    "tensor(float16)": Datatype.FP16,
    "tensor(float)": Datatype.FP32,
    "tensor(double)": Datatype.FP64,
    "tensor(string)": Datatype.BYTES,
}
# What goes wrong is raised too.
_FATAL_ONLY = 4
# Gives int8 layers whose biases are float what they need, and turns a layer that was left in float between two in int8
# into int8 after all, with one scale for all its channels.
UNWANTED_OPTIMIZERS = ("WeightBiasQuantization",)
# The metadata key of a model that has such layers.
FLOAT_LAYERS = "drupelet.float_layers"
# x86 with AVX2 and without VNNI adds pairs of int8 products in 16 bits, which saturate; the target adds them in 32.
# With this option ONNX Runtime computes exactly there too, so that a workstation measures and records the answers
# that the device gives (Quantization documentation, "When and why do I need to try U8U8?").
EXACT_INT8 = "session.x64quantprecision"
# The option's transformer converts a constant once for each layer that reads it, under one name.
_SHARED_WEIGHTS = "Attempt to replace the existing tensor"
# The compiler's; agents do without the package that reads ONNX files.
_SEPARATION = "drupelet_host.onnx_files.separation:separate_weights"

# Returns the options of a session, with exact int8 or without.
MakeOptions = Callable[[bool], ort.SessionOptions]
# The option's transformer gives a DequantizeLinear without a zero point a scalar one where a vector is required.
_EXACT_INT8_FAILED = "x_zero_point must be null or 1D tensor"
# The messages of ONNX Runtime's arena and of the C++ library; there is no status code for this failure.
_OUT_OF_MEMORY = ("std::bad_alloc", "Failed to allocate memory")


class OnnxRuntimeEngine:
    """Loads `.onnx` files into CPU sessions."""

    name = "onnxruntime"

    @property
    def version(self) -> str:
        """The installed ONNX Runtime's version."""
        return str(ort.__version__)

    def load(self, path: Path, *, threads: int) -> OnnxRuntimeSession:
        """Load a model file; see `Engine.load`."""
        return self._load(path, partial(_options, threads))

    def load_profiled(self, path: Path, *, threads: int, folder: Path) -> OnnxRuntimeSession:
        """Load a model file to profile it; see `ProfilingEngine.load_profiled`.

        Args:
            path: The model file.
            threads: Threads of one inference.
            folder: The folder for the profile.

        Returns:
            A session that records each inference.
        """

        def make_options(exact: bool) -> ort.SessionOptions:  # noqa: FBT001 - the callable's only parameter
            options = _options(threads, exact)
            options.enable_profiling = True
            options.profile_file_prefix = str(folder / "profile")
            return options

        return self._load(path, make_options)

    def _load(self, path: Path, make_options: MakeOptions) -> OnnxRuntimeSession:
        try:
            session = create_session(str(path), make_options)
            disabled: tuple[str, ...] = ()
            # A model's metadata can only be read from a session, after optimization.
            if FLOAT_LAYERS in session.get_modelmeta().custom_metadata_map:
                del session
                disabled = UNWANTED_OPTIMIZERS
                session = create_session(str(path), make_options, disabled=disabled)
            plain = partial(create_session, str(path), lambda _: make_options(False), disabled=disabled)  # noqa: FBT003 - as above
            return OnnxRuntimeSession(session, reload=plain)
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            _raise_if_out_of_memory(error)
            raise ModelLoadError(f"{path.name}: ONNX Runtime {self.version} cannot load it: {error}") from error


class OnnxRuntimeSession:
    """One model in ONNX Runtime."""

    def __init__(self, session: ort.InferenceSession, *, reload: Callable[[], ort.InferenceSession]) -> None:
        """Wrap a session.

        Args:
            session: The loaded model.
            reload: Loads the model again without `EXACT_INT8`, for a model whose session that option breaks.
        """
        self._session = session
        self._reload = reload
        self.inputs = tuple(_spec(node) for node in session.get_inputs())
        self.outputs = tuple(_spec(node) for node in session.get_outputs())

    def run(self, inputs: Tensors, outputs: Sequence[str]) -> dict[str, Array]:
        """Compute the named outputs; see `Session.run`.

        Raises:
            InferenceFailedError: ONNX Runtime refused the inputs or failed.
            MemoryError: The process may not allocate what the inference needs.
        """
        try:
            results = self._run(list(outputs), {name: _feed(array) for name, array in inputs.items()})
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            _raise_if_out_of_memory(error)
            raise InferenceFailedError(f"ONNX Runtime failed: {error}") from error
        return {name: np.asarray(result) for name, result in zip(outputs, results, strict=True)}

    def _run(self, outputs: list[str], feed: dict[str, Array]) -> list[Array]:
        try:
            results: list[Array] = self._session.run(outputs, feed)
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            if _EXACT_INT8_FAILED not in str(error):
                raise
            self._session = self._reload()
            results = self._session.run(outputs, feed)
        return results

    def end_profiling(self) -> Path:
        """Write the profile; see `ProfiledSession.end_profiling`."""
        return Path(self._session.end_profiling())


def create_session(
    source: str | bytes, make_options: MakeOptions, *, disabled: Sequence[str] = ()
) -> ort.InferenceSession:
    """Return a session on the CPU that computes int8 exactly.

    Where layers share a weight the option fails on x86, which no device is: then the session gets a copy of the model
    in which each has its own, or where only the agent is installed, the plain arithmetic.

    Args:
        source: The path of the model's file, or its bytes.
        make_options: Returns the options of the session.
        disabled: The names of optimizers that must not run.
    """
    try:
        return _create(source, make_options(True), disabled)  # noqa: FBT003 - the callable's only parameter
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        if _SHARED_WEIGHTS not in str(error):
            raise
    separate = _separate_weights(source)
    if separate is not None:
        return _create(separate, make_options(True), disabled)  # noqa: FBT003 - as above
    return _create(source, make_options(False), disabled)  # noqa: FBT003 - as above


def _create(source: str | bytes, options: ort.SessionOptions, disabled: Sequence[str]) -> ort.InferenceSession:
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"], disabled_optimizers=set(disabled))


def _separate_weights(source: str | bytes) -> bytes | None:
    """Return the model with a weight of its own for each layer; None where only the agent is installed."""
    try:
        separate: Callable[[str | bytes], bytes] = load_reference(_SEPARATION)
    except ImportError:
        return None
    return separate(source)


def _options(threads: int, exact: bool) -> ort.SessionOptions:  # noqa: FBT001 - completed by `create_session`
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    # Pool threads that spin after an inference take the cores from other workers.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry(EXACT_INT8, "1" if exact else "0")
    return options


def _feed(array: Array) -> Array:
    """BYTES as text, which is what ONNX calls strings; ONNX Runtime would take the `repr` of bytes.

    ONNX Runtime takes arrays alone: NumPy's scalars become 0-d arrays.
    """
    if array.dtype != object:
        return np.asarray(array)
    texts = [element.decode() if isinstance(element, bytes) else element for element in array.ravel().tolist()]
    return np.array(texts, dtype=object).reshape(array.shape)


def _raise_if_out_of_memory(error: Exception) -> None:
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in _OUT_OF_MEMORY):
        raise MemoryError(f"ONNX Runtime: {error}") from error


def _spec(node: Any) -> TensorSpec:  # noqa: ANN401 - onnxruntime ships no types
    if node.type not in _DATATYPES:
        known = ", ".join(sorted(_DATATYPES))
        raise ModelLoadError(f"tensor {node.name!r} has type {node.type}: expected one of {known}")
    shape = tuple(size if isinstance(size, int) and size >= 0 else VARIABLE for size in node.shape)
    return make_spec(node.name, _DATATYPES[node.type], shape)
