"""The layers of a network as the latency table knows them: a kind, and the sizes that decide what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from drupelet_host.latency.modelled.pixel_groups import INT8_LANES, count_groups, saves_time
from drupelet_shared.engines.ncnn_signature import choose_without_winograd

LayerKind = Literal[
    "convolution",
    "linear",
    "max_pool",
    "average_pool",
    "global_pool",
    "add",
    "multiply",
    "concat",
    "upsample",
    "silu",
    "hardswish",
    "sigmoid",
    "conversion",
    "other",
]
EngineName = Literal["ncnn", "onnxruntime", "litert"]
Precision = Literal["float32", "int8"]
# How a file has a layer computed. "dynamic" quantizes activations in each inference, which the table does not have.
StoredPrecision = Literal["float32", "int8", "dynamic"]
ENGINES: tuple[EngineName, ...] = ("onnxruntime", "litert", "ncnn")
PRECISIONS: tuple[Precision, ...] = ("float32", "int8")

# The kernels of all three engines compute tiles of 4 input and 8 output channels, and of 4 pixels or more.
_TILE_IN, _TILE_OUT, _TILE_PIXELS = 4, 8, 4
_WINDOW_3X3 = 9
_SPATIAL = 3
_PLANE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """What a layer computes and how large it is.

    Attributes:
        kind: What it computes.
        in_channels: Of its first input; of a concatenation, of all inputs.
        out_channels: Of its output.
        in_pixels: Height times width of its first input, of all samples of a batch.
        out_pixels: Height times width of its output, of all samples of a batch.
        window: Values that a window covers in one channel.
        stride: Of the window.
        groups: Of a convolution.
        axes: How many axes a convolution's window moves along; those of the table have two.
        follows_convolution: Whether one input is a convolution's sum: engines may add to it while it is computed.
        uses_winograd: Whether an engine may compute a 3 x 3 convolution by the Winograd algorithm; see `as_run`.
        is_exported: Whether a LiteRT file has the layer as it is; an export may still rewrite others, see `as_run`.
        stored: How the file has it computed; a table can tell what any other precision would cost.
        name: What the network's file calls it.
    """

    kind: LayerKind
    in_channels: int
    out_channels: int
    in_pixels: int = 1
    out_pixels: int = 1
    window: int = 1
    stride: int = 1
    groups: int = 1
    axes: int = 2
    follows_convolution: bool = False
    uses_winograd: bool = True
    is_exported: bool = False
    stored: StoredPrecision = "float32"
    name: str = ""

    @property
    def macs(self) -> int:
        """The multiply-accumulates of a convolution or linear layer; 0 for others."""
        if self.kind not in {"convolution", "linear"}:
            return 0
        return self.out_pixels * self.out_channels * self.in_channels // self.groups * self.window

    @property
    def category(self) -> str:
        """The layers that one formula describes: those that run the same kernels."""
        if self.kind == "add" and self.follows_convolution:
            return "add_to_convolution"
        if self.is_product:
            return "pointwise"
        if self.kind != "convolution":
            return self.kind
        if self.groups > 1:
            return "depthwise" if self.groups == self.out_channels else "grouped"
        if self.window == 1:
            return "pointwise"
        return "convolution_3x3" if self.is_3x3 and self.uses_winograd else "convolution"

    @property
    def is_product(self) -> bool:
        """Whether the layer is a linear one of many rows, as in transformers: a product of matrices.

        That is what engines make of a convolution of one pixel's window too.
        """
        return self.kind == "linear" and self.out_pixels > 1

    @property
    def is_3x3(self) -> bool:
        """Whether the Winograd algorithm can compute the layer."""
        return self.kind == "convolution" and (self.groups, self.window, self.stride) == (1, _WINDOW_3X3, 1)

    @property
    def features(self) -> tuple[float, ...]:
        """What a layer's time is a weighted sum of: a constant, work in tiles, values packed, read and written.

        The last of a convolution is its work with pixels in tiles too, which counts where maps have few.
        """
        read, written = self.in_channels * self.in_pixels, self.out_channels * self.out_pixels
        if self.kind not in {"convolution", "linear"}:
            return (1.0, float(read), float(written), float(written * self.window))
        group_in, group_out = self.in_channels / self.groups, self.out_channels / self.groups
        weights = self.groups * group_in * group_out * self.window
        if self.groups > 1:
            return (1.0, float(self.macs), float(read), float(written), weights)
        tiles = _round_up(group_in, _TILE_IN) * _round_up(group_out, _TILE_OUT) * self.window
        packed = self.out_pixels * self.window * self.in_channels
        blocks = tiles * _round_up(self.out_pixels, _TILE_PIXELS)
        work = (float(tiles * self.out_pixels), float(packed), float(read), float(written), weights, float(blocks))
        return (1.0, *work)

    @property
    def position(self) -> tuple[float, ...]:
        """Where the layer lies among others of its category: logarithms of the sizes, base 2."""
        sizes = (self.in_channels, self.out_channels, self.out_pixels, self.window, self.stride, self.groups)
        return tuple(math.log2(size) for size in sizes)


def as_run(shapes: Sequence[LayerShape], engine: EngineName, precision: Precision) -> tuple[LayerShape, ...]:
    """Return the layers of a network as an engine computes them together.

    In int8 ncnn does without the Winograd algorithm where its copies of the weights would take too much memory, and
    LiteRT's first convolutions move over groups of pixels.

    Args:
        shapes: The layers.
        engine: What runs them.
        precision: In float32 or static int8.
    """
    if (engine, precision) == ("litert", "int8"):
        return tuple(_on_groups_of_pixels(shape) for shape in shapes)
    if (engine, precision) != ("ncnn", "int8"):
        return tuple(shapes)
    weights = {
        str(position): shape.out_channels * shape.in_channels // shape.groups * shape.window
        for position, shape in enumerate(shapes)
        if shape.kind == "convolution" and shape.groups == 1
    }
    candidates = {name: count for name, count in weights.items() if shapes[int(name)].is_3x3}
    without = choose_without_winograd(weights, candidates)
    return tuple(
        replace(shape, uses_winograd=False) if str(position) in without else shape
        for position, shape in enumerate(shapes)
    )


def _on_groups_of_pixels(shape: LayerShape) -> LayerShape:
    """Return a convolution as `rewrite_for_xnnpack` leaves it, for square windows with half of them padded."""
    columns, step = math.isqrt(shape.window), shape.stride
    if shape.is_exported or shape.kind != "convolution" or shape.groups > 1 or shape.axes != _PLANE:
        return shape
    groups = count_groups(columns, left=(columns - 1) // 2, step=step)
    saves = saves_time(columns, groups, channels=shape.in_channels, step=step, lanes=INT8_LANES)
    if columns**2 != shape.window or shape.in_pixels % step or not saves:
        return shape
    return replace(
        shape,
        in_channels=step * shape.in_channels,
        in_pixels=shape.in_pixels // step,
        window=columns * groups,
        is_exported=True,
    )


def _round_up(count: float, multiple: int) -> float:
    return math.ceil(count / multiple) * multiple


def channels_and_pixels(shape: Sequence[int]) -> tuple[int, int]:
    """Return the channels and the pixels of a tensor with channels behind the batch, as ONNX and PyTorch have them.

    Args:
        shape: Its sizes; the pixels of all samples of a batch count.
    """
    if len(shape) >= _SPATIAL:
        return shape[1], shape[0] * math.prod(shape[2:])
    return (shape[-1] if len(shape) else 1), 1
