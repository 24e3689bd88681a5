"""Converts PyTorch modules and ONNX files to ncnn with pnnx, which runs as a child process.

pnnx (PyTorch Neural Network eXchange, part of ncnn) names tensors `in0`, `out0` and so on, and drops the batch
dimension. The graph file gets a signature with the names, shapes and batch dimensions of the package's other variants.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import nn

from drupelet_host.errors import ExportError
from drupelet_host.export.agreement import EXPORT_TOLERANCE, check_against_pytorch, compare_outputs
from drupelet_host.export.onnx import export_onnx
from drupelet_host.ncnn_files.graph import parse_graph
from drupelet_host.ncnn_files.shapes import write_shapes
from drupelet_host.ncnn_files.writing import write_pair
from drupelet_host.recipe.model import OUTPUT_NAME
from drupelet_host.torch_models.inputs import (
    Example,
    ModuleInputs,
    list_tensors,
    make_batches,
    name_inputs,
    run_module,
)
from drupelet_host.torch_models.outputs import FlatOutputs, name_outputs
from drupelet_shared.engines.base import Array
from drupelet_shared.engines.ncnn_signature import NcnnSignature, NcnnTensor
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.errors import EngineError, RequestError
from drupelet_shared.tensors import VARIABLE, Datatype, TensorSpec

_REQUIRED = ("ncnn", "pnnx")
_TIMEOUT_S = 600.0
# Matches a tensor's input or output in the test script that pnnx writes with the model.
_BATCH_OF_INPUT = re.compile(r'ex\.input\("(\w+)", ncnn\.Mat\(\w+\.numpy\(\)(?:, batch_index=(\d+))?\)')
_BATCH_OF_OUTPUT = re.compile(r"(\w+)\.numpy\((?:batch_index=(\d+))?\)\)")
# The batch dimension that pnnx writes for a tensor without one.
_NO_BATCH = 233
# A recurrent layer reads a sequence and up to two initial states; ncnn reads its weights only from the file.
_RECURRENT, _RECURRENT_INPUTS = {"LSTM", "GRU", "RNN"}, 3


@dataclass(frozen=True, slots=True)
class _Converted:
    """The files that pnnx wrote.

    Attributes:
        graph: The content of the graph file.
        weights: The content of the weights file.
        batch_axes: The batch dimension of each tensor by pnnx's name; None where it has none.
    """

    graph: str
    weights: bytes
    batch_axes: Mapping[str, int | None]


def require_ncnn() -> None:
    """Check that ncnn and its converter are installed.

    Raises:
        ExportError: One of them is not installed.
    """
    missing = [name for name in _REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"export.engines has 'ncnn': {', '.join(missing)} not installed: pip install 'drupelet[host,ncnn-convert]'"
        )


def export_ncnn(
    model: nn.Module,
    example: Example,
    path: Path,
    *,
    output_names: Sequence[str] = (OUTPUT_NAME,),
    tolerance: float = EXPORT_TOLERANCE,
) -> None:
    """Convert a module to a `.param` and a `.bin` file for inputs of exactly these shapes.

    Args:
        model: The module; it is left in evaluation mode.
        example: A few samples, batch first, or the shape of one input of floats.
        path: The graph file; the weights go beside it.
        output_names: The names of the outputs, in the module's order.
        tolerance: The largest difference from PyTorch allowed, relative to the largest output.

    Raises:
        ExportError: PyTorch cannot trace the model, pnnx or ncnn lacks one of its operators, or ncnn computes
            something else than PyTorch.
    """
    model.eval()
    inputs = make_batches(example)
    named = name_inputs(inputs[0])
    if others := [f"{name!r} is {values.dtype}" for name, values in named.items() if values.dtype != torch.float32]:
        raise ExportError(f"{path.name}: input {', '.join(others)}: ncnn needs float32 inputs")
    with torch.inference_mode():
        outputs = name_outputs(run_module(model, inputs[0]), names=list(output_names))
    converted = _convert_module(model, inputs[0], output_names, what=path.name)
    _write(
        path,
        converted,
        inputs=[(name, tuple(values.shape)) for name, values in named.items()],
        outputs=[(name, tuple(tensor.shape)) for name, tensor in outputs.items()],
    )
    check_against_pytorch(model, inputs, path, engine="ncnn", output_names=output_names, tolerance=tolerance)


def convert_onnx(source: Path, path: Path, *, sample: Mapping[str, Array], tolerance: float = EXPORT_TOLERANCE) -> None:
    """Convert an ONNX file to a `.param` and a `.bin` file.

    Args:
        source: The ONNX file.
        path: The graph file; the weights go beside it.
        sample: The inputs of one inference, on which the outputs are compared.
        tolerance: The largest difference from ONNX Runtime allowed, as a fraction of the largest output.

    Raises:
        ExportError: A tensor is not float32 or has a variable shape, pnnx or ncnn lacks one of the operators, or ncnn
            computes other values than ONNX Runtime.
    """
    try:
        session = load_engine("onnxruntime").load(source, threads=1)
        for spec in (*session.inputs, *session.outputs):
            if spec.datatype is not Datatype.FP32 or VARIABLE in spec.shape[1:]:
                shape = "x".join("?" if size == VARIABLE else str(size) for size in spec.shape)
                raise ExportError(
                    f"{path.name}: tensor {spec.name!r} is {spec.datatype.value} of shape {shape}: "
                    "ncnn needs float32 tensors whose shapes are fixed except for the batch"
                )
        with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
            copy = Path(folder) / "model.onnx"
            # Weights that lie beside the file go into the copy.
            onnx.save(onnx.load(source), copy)
            converted = _convert(copy, [_one_sample(spec.shape) for spec in session.inputs], what=path.name)
        _write(
            path,
            converted,
            inputs=[(spec.name, spec.shape) for spec in session.inputs],
            outputs=[(spec.name, spec.shape) for spec in session.outputs],
        )
        names = [spec.name for spec in session.outputs]
        expected = session.run(sample, names)
        actual = load_engine("ncnn").load(path, threads=1).run(sample, names)
    except (EngineError, RequestError) as error:
        raise ExportError(f"{path.name}: the converted model does not run: {error}") from error
    for name in names:
        compare_outputs(actual[name], expected[name], path=path, tolerance=tolerance)


def _one_sample(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if size == VARIABLE else size for size in shape)


def _convert_module(model: nn.Module, inputs: ModuleInputs, output_names: Sequence[str], *, what: str) -> _Converted:
    """Convert through TorchScript, or through ONNX, whose operators are simpler, where ncnn lacks an operator."""
    tensors = tuple(list_tensors(inputs))
    shapes = [tuple(values.shape) for values in tensors]
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        program = Path(folder) / "model.pt"
        try:
            with warnings.catch_warnings():
                # The tracer warns about shapes, which are fixed here.
                warnings.simplefilter("ignore")
                traced = torch.jit.trace(FlatOutputs(model, output_names), tensors, check_trace=False)  # type: ignore[no-untyped-call]
                traced.save(str(program))
            return _convert(program, shapes, what=what)
        except ExportError:
            exported = Path(folder) / "model.onnx"
            export_onnx(model, inputs, exported, output_names=output_names)
            return _convert(exported, shapes, what=what)
        except Exception as error:  # the tracer's exceptions share no base class
            raise ExportError(f"{what}: torch.jit cannot trace the model: {_last_line(str(error))}") from error


def _convert(source: Path, input_shapes: Sequence[tuple[int, ...]], *, what: str) -> _Converted:
    folder = source.parent
    graph, weights, script = folder / "ncnn.param", folder / "ncnn.bin", folder / "ncnn.py"
    shapes = ",".join(f"[{','.join(map(str, shape))}]f32" for shape in input_shapes)
    rest = {name: folder / f"pnnx.{name}" for name in ("param", "bin", "py", "onnx")}
    command = [
        str(_find_converter()),
        str(source),
        f"inputshape={shapes}",
        "fp16=0",
        f"ncnnparam={graph}",
        f"ncnnbin={weights}",
        f"ncnnpy={script}",
        *(f"pnnx{name}={path}" for name, path in rest.items()),
    ]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ExportError(f"{what}: pnnx took more than {_TIMEOUT_S:.0f} s") from error
    if not (graph.is_file() and weights.is_file() and script.is_file()):
        raise ExportError(f"{what}: pnnx ended with status {done.returncode}: {_last_line(done.stderr)}")
    text = graph.read_text(encoding="utf-8")
    if absent := _find_unsupported(text):
        raise ExportError(f"{what}: ncnn has no operator for {', '.join(absent)}")
    return _Converted(text, weights.read_bytes(), _read_batch_axes(script.read_text(encoding="utf-8")))


def _find_converter() -> Path:
    spec = importlib.util.find_spec("pnnx")
    if spec is None or spec.origin is None:
        raise ExportError("pnnx is not installed: pip install 'drupelet[host,ncnn-convert]'")
    return Path(spec.origin).with_name("pnnx")


def _find_unsupported(graph: str) -> list[str]:
    """Return the kinds of layers that ncnn lacks: operators that pnnx did not convert."""
    from drupelet_shared.engines.ncnn_session import runtime  # noqa: PLC0415 - an optional engine

    layers = parse_graph(graph).layers
    absent = {layer.kind for layer in layers if runtime.layer_to_index(layer.kind) < 0}
    computed = {
        f"{layer.kind} with computed weights"
        for layer in layers
        if layer.kind in _RECURRENT and len(layer.inputs) > _RECURRENT_INPUTS
    }
    return sorted(absent | computed)


def _read_batch_axes(script: str) -> dict[str, int | None]:
    axes = [*_BATCH_OF_INPUT.findall(script), *_BATCH_OF_OUTPUT.findall(script)]
    return {name: int(axis) if axis and int(axis) != _NO_BATCH else None for name, axis in axes}


def _write(
    path: Path,
    converted: _Converted,
    *,
    inputs: Sequence[tuple[str, tuple[int, ...]]],
    outputs: Sequence[tuple[str, tuple[int, ...]]],
) -> None:
    def describe(kind: str, position: int, name: str, shape: tuple[int, ...]) -> NcnnTensor:
        blob = f"{kind}{position}"
        if blob not in converted.batch_axes:
            raise ExportError(f"{path.name}: pnnx dropped the tensor {name!r}")
        batch_axis = converted.batch_axes[blob]
        if VARIABLE in shape and batch_axis != 0:
            raise ExportError(f"{path.name}: tensor {name!r} has a variable first dimension that is not the batch")
        return NcnnTensor(TensorSpec(name=name, datatype=Datatype.FP32, shape=shape), blob, batch_axis)

    signature = NcnnSignature(
        tuple(describe("in", position, name, shape) for position, (name, shape) in enumerate(inputs)),
        tuple(describe("out", position, name, shape) for position, (name, shape) in enumerate(outputs)),
        weights_sha256="",
    )
    write_pair(path, parse_graph(converted.graph), converted.weights, signature=signature)
    write_shapes(path)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
