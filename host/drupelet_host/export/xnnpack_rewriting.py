"""Rewrites a LiteRT graph so that XNNPACK, which runs it on a CPU, takes less time for the same numbers.

A row of pixels is the same memory as a shorter row of pixel groups with more channels, so a convolution that moves by
two pixels can move by one group of two, its weights filled up to whole groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from drupelet_host.latency.modelled.pixel_groups import count_groups, saves_time
from drupelet_shared.engines.base import Array

_RANK = 4
_NO_PADDING = (0, 0)


def rewrite_for_xnnpack(content: bytes, *, lanes: int) -> bytes:
    """Return a float file with its first convolutions on pixel groups, and with paddings that XNNPACK can run.

    Args:
        content: The `.tflite` file, of fixed shapes.
        lanes: `INT8_LANES` for a file that will be quantized, else `FLOAT_LANES`, of `pixel_groups`.

    Returns:
        The file, the same bytes where there is nothing to rewrite. Outputs are those of the file given, but for the
        order in which numbers are added.
    """
    # Installed with the converter; only this file format needs them.
    import ai_edge_litert.schema_py_generated as schema  # noqa: PLC0415
    import flatbuffers  # noqa: PLC0415

    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    changes = 0
    for graph in model.subgraphs:
        editor = _GraphEditor(schema, model, graph, lanes)
        changes += editor.group_pixels() + editor.pad_with_zeros()
    if changes == 0:
        return content
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _GraphEditor:
    """One graph of a model, as the objects of the format's schema, which has no types."""

    def __init__(self, schema: Any, model: Any, graph: Any, lanes: int) -> None:  # noqa: ANN401 - see the class
        self._schema, self._model, self._graph, self._lanes = schema, model, graph, lanes

    def group_pixels(self) -> int:
        """Put convolutions of few channels that skip columns on pixel groups; return how many there were."""
        found = [operator for operator in self._graph.operators if self._is(operator, "CONV_2D")]
        return sum(self._group(operator) for operator in found)

    def pad_with_zeros(self) -> int:
        """Pad what is never negative with zeros before a maximum, in place of the least number; return how often.

        XNNPACK has no padding with other values. The maximum of a window that reaches what is padded stays the same.
        """
        found = [operator for operator in self._graph.operators if self._is(operator, "PADV2")]
        return sum(self._pad_with_zeros(operator) for operator in found)

    def _group(self, convolution: Any) -> bool:  # noqa: ANN401 - see the class
        options, weights = convolution.builtinOptions, self._values(convolution.inputs[1])
        pad = self._find_pad(convolution.inputs[0])
        source = pad.inputs[0] if pad else convolution.inputs[0]
        shape = self._shape(source)
        if weights is None or weights.ndim != _RANK or not self._is_read_once(convolution.inputs[1]):
            return False
        if len(shape) != _RANK or self._is_open(source):
            return False
        batch, height, width, channels = shape
        count, rows, columns, read = weights.shape
        step, out_columns = options.strideW, self._shape(convolution.outputs[0])[2]
        padding = self._padding(convolution, pad, (height, width), (rows, columns))
        if padding is None or read != channels or width % step or options.dilationWFactor != 1:
            return False
        vertical, (left, _) = padding
        # Zeros before the weights, so that what is padded on the left is whole groups too.
        before = -left % step
        groups = count_groups(columns, left=left, step=step)
        padded_left = (left + before) // step
        padded_right = out_columns - 1 + groups - width // step - padded_left
        saves = saves_time(columns, groups, channels=channels, step=step, lanes=self._lanes)
        if padded_right < 0 or not saves:
            return False
        filled = np.pad(weights, ((0, 0), (0, 0), (before, groups * step - columns - before), (0, 0)))
        grouped = (batch, height, width // step, step * channels)
        added = [self._reshape(source, grouped)]
        around = np.array([_NO_PADDING, vertical, (padded_left, padded_right), _NO_PADDING], np.int32)
        if pad:
            self._repad(pad, added[0].outputs[0], grouped, around)
        else:
            if around.any():
                added.append(self._pad(added[0].outputs[0], grouped, around))
            convolution.inputs = np.array([added[-1].outputs[0], *convolution.inputs[1:]], np.int32)
        self._store(convolution.inputs[1], filled.reshape(count, rows, groups, step * channels))
        options.strideW, options.padding = 1, self._schema.Padding.VALID
        self._insert(added, before=pad or convolution)
        return True

    def _padding(
        self,
        convolution: Any,  # noqa: ANN401 - see the class
        pad: Any,  # noqa: ANN401 - see the class
        size: tuple[int, int],
        window: tuple[int, int],
    ) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """Return what is padded above and below, and left and right; None where it is not known."""
        options = convolution.builtinOptions
        if options.padding == self._schema.Padding.VALID:
            if pad is None:
                return _NO_PADDING, _NO_PADDING
            around = self._values(pad.inputs[1])
            if around is None or around.shape != (_RANK, 2) or around[[0, 3]].any():
                return None
            (top, bottom), (left, right) = around[1:3].tolist()
            return (top, bottom), (left, right)
        if pad is not None or (options.dilationHFactor, options.dilationWFactor) != (1, 1):
            return None
        vertical, horizontal = (
            _pad_evenly(length, kernel, step)
            for length, kernel, step in zip(size, window, (options.strideH, options.strideW), strict=True)
        )
        return vertical, horizontal

    def _pad_with_zeros(self, pad: Any) -> bool:  # noqa: ANN401 - see the class
        around, fill = self._values(pad.inputs[1]), self._values(pad.inputs[2])
        pools = list(self._consumers(pad.outputs[0]))
        if around is None or around.shape != (_RANK, 2) or fill is None or (fill > 0).any():
            return False
        if not self._is_never_negative(pad.inputs[0]) or pad.outputs[0] in self._graph.outputs:
            return False
        for pool in pools:
            # A window of nothing but what is padded would have no maximum.
            if not self._is(pool, "MAX_POOL_2D") or around[[0, 3]].any():
                return False
            window = (pool.builtinOptions.filterHeight, pool.builtinOptions.filterWidth)
            if (around[1:3] >= np.array(window)[:, None]).any():
                return False
        pad.opcodeIndex, pad.inputs = self._code("PAD"), pad.inputs[:2]
        pad.builtinOptionsType, pad.builtinOptions = self._schema.BuiltinOptions.PadOptions, self._schema.PadOptionsT()
        return True

    def _is_never_negative(self, tensor: int) -> bool:
        producer = self._producer(tensor)
        if producer is None:
            return False
        kinds = self._schema.ActivationFunctionType
        fused = int(getattr(producer.builtinOptions, "fusedActivationFunction", kinds.NONE))
        is_fused = fused in {int(kinds.RELU), int(kinds.RELU6)}
        return is_fused or self._is(producer, "RELU") or self._is(producer, "RELU6")

    def _find_pad(self, tensor: int) -> Any:  # noqa: ANN401 - see the class
        """Return the padding that makes a tensor which nothing else reads, or None."""
        producer = self._producer(tensor)
        is_alone = self._is_read_once(tensor) and tensor not in self._graph.outputs
        return producer if producer is not None and is_alone and self._is(producer, "PAD") else None

    def _producer(self, tensor: int) -> Any:  # noqa: ANN401 - see the class
        return next((each for each in self._graph.operators if tensor in each.outputs), None)

    def _consumers(self, tensor: int) -> Iterator[Any]:
        return (each for each in self._graph.operators if tensor in each.inputs)

    def _is_read_once(self, tensor: int) -> bool:
        return len(list(self._consumers(tensor))) == 1

    def _is(self, operator: Any, name: str) -> bool:  # noqa: ANN401 - see the class
        number: int = getattr(self._schema.BuiltinOperator, name)
        return _number(self._model.operatorCodes[operator.opcodeIndex]) == number

    def _shape(self, tensor: int) -> tuple[int, ...]:
        shape = self._graph.tensors[tensor].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def _is_open(self, tensor: int) -> bool:
        signature = self._graph.tensors[tensor].shapeSignature
        return signature is not None and any(size < 0 for size in signature)

    def _values(self, tensor: int) -> Array | None:
        """Return a constant of floats or indices; None for any other tensor."""
        found = self._graph.tensors[tensor]
        types = {self._schema.TensorType.FLOAT32: np.float32, self._schema.TensorType.INT32: np.int32}
        data = self._model.buffers[found.buffer].data
        if data is None or found.type not in types:
            return None
        values: Array = np.frombuffer(np.asarray(data, np.uint8).tobytes(), types[found.type])
        return values.reshape(self._shape(tensor))

    def _store(self, tensor: int, values: Array) -> None:
        found = self._graph.tensors[tensor]
        if sum(each.buffer == found.buffer for graph in self._model.subgraphs for each in graph.tensors) == 1:
            self._model.buffers[found.buffer].data = None
        found.shape, found.shapeSignature = np.array(values.shape, np.int32), None
        found.buffer = self._add_buffer(values)

    def _reshape(self, source: int, shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - see the class
        options = self._schema.ReshapeOptionsT()
        options.newShape = np.array(shape, np.int32)
        made = self._operator("RESHAPE", source, np.array(shape, np.int32), shape)
        made.builtinOptionsType, made.builtinOptions = self._schema.BuiltinOptions.ReshapeOptions, options
        return made

    def _pad(self, source: int, shape: tuple[int, ...], around: Array) -> Any:  # noqa: ANN401 - see the class
        made = self._operator("PAD", source, around, _padded(shape, around))
        made.builtinOptionsType, made.builtinOptions = (
            self._schema.BuiltinOptions.PadOptions,
            self._schema.PadOptionsT(),
        )
        return made

    def _repad(self, pad: Any, source: int, shape: tuple[int, ...], around: Array) -> None:  # noqa: ANN401 - see the class
        """Let a padding pad something else; a tensor that nothing writes would be left of a new one."""
        # Paddings alike share one constant, so it stays as it is.
        pad.inputs = np.array([source, self._add_constant(f"{self._name(source)}/around", around)], np.int32)
        made = self._graph.tensors[pad.outputs[0]]
        made.shape, made.shapeSignature = np.array(_padded(shape, around), np.int32), None

    def _operator(self, name: str, source: int, parameter: Array, shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - as above
        """Return an operator that reads a tensor and a constant of its own, and writes a tensor of this shape."""
        label = f"{self._name(source)}/{name.lower()}"
        made = self._schema.OperatorT()
        made.opcodeIndex = self._code(name)
        made.inputs = np.array([source, self._add_constant(f"{label}/parameter", parameter)], np.int32)
        made.outputs = np.array([self._add_tensor(label, shape, self._graph.tensors[source].type)], np.int32)
        return made

    def _name(self, tensor: int) -> str:
        return str(self._graph.tensors[tensor].name.decode())

    def _add_constant(self, name: str, values: Array) -> int:
        made = self._add_tensor(name, values.shape, self._schema.TensorType.INT32)
        self._graph.tensors[made].buffer = self._add_buffer(values)
        return made

    def _add_tensor(self, name: str, shape: tuple[int, ...], kind: int) -> int:
        made = self._schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name.encode(), np.array(shape, np.int32), kind, 0
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1

    def _add_buffer(self, values: Array) -> int:
        made = self._schema.BufferT()
        made.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._model.buffers.append(made)
        return len(self._model.buffers) - 1

    def _code(self, name: str) -> int:
        """Return where the model lists an operator, and list it where it is new."""
        number = getattr(self._schema.BuiltinOperator, name)
        codes = self._model.operatorCodes
        for index, code in enumerate(codes):
            if _number(code) == number:
                return index
        made = self._schema.OperatorCodeT()
        made.builtinCode = made.deprecatedBuiltinCode = number
        made.version = 1
        codes.append(made)
        return len(codes) - 1

    def _insert(self, operators: list[Any], *, before: Any) -> None:  # noqa: ANN401 - see the class
        at = next(index for index, each in enumerate(self._graph.operators) if each is before)
        self._graph.operators[at:at] = operators


def _number(code: Any) -> int:  # noqa: ANN401 - the schema has no types
    """Return the operator that a code stands for; old files have it in the deprecated field."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _padded(shape: tuple[int, ...], around: Array) -> tuple[int, ...]:
    return tuple(int(size + sides.sum()) for size, sides in zip(shape, around, strict=True))


def _pad_evenly(length: int, kernel: int, step: int) -> tuple[int, int]:
    """Return what "SAME" pads before and after."""
    total = max(0, (-(-length // step) - 1) * step + kernel - length)
    return total // 2, total - total // 2
