"""Models in ncnn: the extension module, and sessions that compute what a model's signature says."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from drupelet_shared.engines.base import Array, Tensors
from drupelet_shared.engines.ncnn_signature import NcnnSignature, NcnnTensor, choose_without_winograd
from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.tensors import NUMPY_DTYPE, VARIABLE, shape_matches

_MODULE = "ncnn.ncnn"
# What ncnn's functions return when an allocation failed; a layer whose weights end early returns it as well.
ALLOCATION_FAILED = -100
# A convolution's parameters: 6 is its number of weights, 8 its kind of int8.
_INT8_CONVOLUTION = re.compile(r"^Convolution .* 6=(\d+) .*8=[1-9].*$", re.MULTILINE)
# Its width 1, height 11 and stride 3 of a layer that the Winograd algorithm can compute.
_WINOGRAD_SHAPE = (" 1=3 ", " 11=3 ", " 3=1 ")
# The mask of features that a layer does without: bit 6 is the Winograd algorithm.
_NO_WINOGRAD = " 31=64"


def _import_runtime() -> ModuleType:
    """Import ncnn's extension module without its Python layer, which brings an HTTP client and a model downloader.

    Raises:
        ImportError: ncnn is not installed.
    """
    if _MODULE in sys.modules:
        return sys.modules[_MODULE]
    package = importlib.util.find_spec("ncnn")
    folders = list(package.submodule_search_locations or ()) if package is not None else []
    for folder in folders:
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = Path(folder, f"ncnn{suffix}")
            if path.is_file():
                return _load_extension(path)
    raise ImportError("no module named 'ncnn'", name="ncnn")


def _load_extension(path: Path) -> ModuleType:
    loader = importlib.machinery.ExtensionFileLoader(_MODULE, str(path))
    spec = importlib.util.spec_from_loader(_MODULE, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    # Its classes can be registered once in a process.
    sys.modules[_MODULE] = module
    return module


runtime: Any = _import_runtime()


class NcnnSession:
    """One model in ncnn, with the names, shapes and batch dimension of its signature."""

    def __init__(self, net: Any, signature: NcnnSignature) -> None:  # noqa: ANN401 - ncnn ships no types
        """Wrap a loaded network.

        Args:
            net: The network.
            signature: Its tensors.
        """
        self._net = net
        self._signature = signature
        self.inputs = tuple(tensor.spec for tensor in signature.inputs)
        self.outputs = tuple(tensor.spec for tensor in signature.outputs)
        self._outputs = {tensor.spec.name: tensor for tensor in signature.outputs}

    def run(self, inputs: Tensors, outputs: Sequence[str]) -> dict[str, Array]:
        """Compute the named outputs; see `Session.run`.

        Raises:
            InferenceFailedError: An input or output does not match the signature, or ncnn failed.
            MemoryError: The process may not allocate what the inference needs.
        """
        self._check_inputs(inputs)
        if unknown := sorted(set(outputs) - self._outputs.keys()):
            raise InferenceFailedError(f"outputs {', '.join(unknown)}: the model gives {', '.join(self._outputs)}")
        samples = [self._infer(inputs, outputs, position=position) for position in range(self._batch_size(inputs))]
        return {name: self._join([sample[name] for sample in samples], self._outputs[name]) for name in outputs}

    def _batch_size(self, inputs: Tensors) -> int:
        sizes = {
            inputs[tensor.spec.name].shape[tensor.batch_axis]
            for tensor in self._signature.inputs
            if tensor.batch_axis is not None
        }
        if len(sizes) > 1:
            shown = ", ".join(map(str, sorted(sizes)))
            raise InferenceFailedError(f"the inputs have batches of {shown}: expected one size")
        return sizes.pop() if sizes else 1

    def _join(self, samples: Sequence[Array], tensor: NcnnTensor) -> Array:
        if tensor.batch_axis is not None:
            return np.stack(samples, axis=tensor.batch_axis)
        if len(samples) != 1:
            raise InferenceFailedError(
                f"output {tensor.spec.name!r} has no batch dimension: a batch of {len(samples)} was given, expected 1"
            )
        return samples[0]

    def _check_inputs(self, inputs: Tensors) -> None:
        expected = {spec.name: spec for spec in self.inputs}
        if inputs.keys() != expected.keys():
            given, taken = (", ".join(sorted(names)) or "none" for names in (inputs, expected))
            raise InferenceFailedError(f"inputs {given}: the model takes {taken}")
        for name, array in inputs.items():
            spec = expected[name]
            if array.dtype != NUMPY_DTYPE[spec.datatype] or not shape_matches(array.shape, spec.shape):
                shape = "x".join(map(str, array.shape))
                raise InferenceFailedError(
                    f"input {name!r} is {array.dtype} of shape {shape}: the model takes {spec.datatype.value} "
                    f"of shape {'x'.join(map(str, spec.shape))}"
                )

    def _infer(self, inputs: Tensors, outputs: Sequence[str], *, position: int) -> dict[str, Array]:
        extractor = self._feed(inputs, position=position)
        return {name: self._extract(extractor, self._outputs[name]) for name in outputs}

    def _feed(self, inputs: Tensors, *, position: int) -> Any:  # noqa: ANN401 - ncnn ships no types
        """An extractor with the inputs of one sample."""
        extractor = self._net.create_extractor()
        for tensor in self._signature.inputs:
            array = inputs[tensor.spec.name]
            sample = array if tensor.batch_axis is None else array.take(position, axis=tensor.batch_axis)
            # A copy: layers that work in place would write into the caller's array.
            mat = runtime.Mat(np.ascontiguousarray(sample)).clone()
            if mat.empty() and sample.size:
                # ncnn would read through its null pointer.
                raise MemoryError(f"ncnn: the {sample.nbytes} bytes of input {tensor.spec.name!r} do not fit")
            self._check_status(extractor.input(tensor.blob, mat), tensor.spec.name)
        return extractor

    def _extract(self, extractor: Any, tensor: NcnnTensor) -> Array:  # noqa: ANN401 - ncnn ships no types
        status, mat = extractor.extract(tensor.blob)
        self._check_status(status, tensor.spec.name)
        shape = [size for axis, size in enumerate(tensor.spec.shape) if axis != tensor.batch_axis]
        if mat.empty():
            # ncnn copies an output out of its pool, and does not report it when there is no memory for the copy.
            if VARIABLE not in shape:
                raise MemoryError(f"ncnn: no memory for output {tensor.spec.name!r}")
            raise InferenceFailedError(
                f"ncnn gives no values for output {tensor.spec.name!r}, or has no memory for them"
            )
        values = np.array(mat, dtype=np.float32)
        try:
            return values.reshape(shape)
        except ValueError as error:
            raise InferenceFailedError(
                f"output {tensor.spec.name!r} has shape {values.shape}: its signature says {shape}"
            ) from error

    def _check_status(self, status: int, name: str) -> None:
        if status == ALLOCATION_FAILED:
            raise MemoryError(f"ncnn: an allocation failed on the way to {name!r}")
        if status != 0:
            raise InferenceFailedError(f"ncnn failed at {name!r}: status {status}")


def make_net(threads: int) -> Any:  # noqa: ANN401 - ncnn ships no types
    """Return an empty network with the options that every drupelet session has.

    Args:
        threads: How many threads one inference may use.
    """
    net = runtime.Net()
    net.opt.num_threads = threads
    # Threads that spin on after an inference take the cores from the worker next door.
    net.opt.openmp_blocktime = 0
    net.opt.use_vulkan_compute = False
    # Arithmetic and activations in float32 on every processor: the target has no half-float arithmetic, and the
    # golden vectors would not hold on one that has.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_packed = net.opt.use_bf16_storage = False
    return net


def load_graph(net: Any, graph: str) -> int:  # noqa: ANN401 - ncnn ships no types
    """Load the text of a graph file into an empty network and return ncnn's status.

    Args:
        net: What `make_net` returned.
        graph: The text.
    """
    return int(net.load_param_mem(limit_winograd(graph)))


def limit_winograd(graph: str) -> str:
    """Return the text of a graph file in which int8 convolutions with many weights do without the Winograd algorithm.

    An int8 ResNet18 takes 102 MB so, and 158 MB with the algorithm in every layer, and is as fast; its answers are the
    same to the last bit.

    Args:
        graph: The text.
    """
    layers = {layer[0]: int(layer[1]) for layer in _INT8_CONVOLUTION.finditer(graph)}
    candidates = {
        line: weights for line, weights in layers.items() if all(parameter in line for parameter in _WINOGRAD_SHAPE)
    }
    without = choose_without_winograd(layers, candidates)
    return _INT8_CONVOLUTION.sub(lambda layer: layer[0] + _NO_WINOGRAD * (layer[0] in without), graph)
