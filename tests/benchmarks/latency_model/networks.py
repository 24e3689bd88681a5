"""Networks as lists of layers, from which the writers make a file for each engine; weights do not matter for time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "convolution",
    "linear",
    "max_pool",
    "average_pool",
    "global_pool",
    "add",
    "multiply",
    "concat",
    "upsample",
    "activation",
]
Activation = Literal["none", "relu", "relu6", "silu", "hardswish", "sigmoid"]
# Activations that engines compute within the convolution before them.
FUSED: frozenset[Activation] = frozenset({"none", "relu", "relu6"})

Shape = tuple[int, int, int]
INPUT = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer.

    Attributes:
        kind: What it computes.
        inputs: The layers that it reads, by position in the network, or `INPUT`.
        channels: Of its output.
        kernel: Of a window, along both axes.
        stride: Of a window; of an upsampling, its factor.
        groups: Of a convolution; as many as input channels for a depthwise one.
        activation: Of a convolution, fused; of an activation, itself.
    """

    kind: Kind
    inputs: tuple[int, ...]
    channels: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    activation: Activation = "none"


@dataclass(frozen=True, slots=True)
class Network:
    """Layers in order of execution; the last one's output is the network's.

    Attributes:
        shape: Of the input, channels first.
        layers: At least one.
    """

    shape: Shape
    layers: tuple[Layer, ...]

    def shapes(self) -> tuple[Shape, ...]:
        """Return the shape of each layer's output."""
        found: list[Shape] = []
        for layer in self.layers:
            found.append(_output_shape(layer, self._shape_of(layer.inputs[0], found)))
        return tuple(found)

    def input_shape(self, position: int) -> Shape:
        """Return the shape of a layer's first input."""
        return self._shape_of(self.layers[position].inputs[0], self.shapes())

    def _shape_of(self, position: int, shapes: Sequence[Shape]) -> Shape:
        return self.shape if position == INPUT else shapes[position]


def _output_shape(layer: Layer, shape: Shape) -> Shape:
    _, height, width = shape
    if layer.kind in {"linear", "global_pool"}:
        return layer.channels, 1, 1
    if layer.kind == "upsample":
        return layer.channels, height * layer.stride, width * layer.stride
    return layer.channels, -(-height // layer.stride), -(-width // layer.stride)


class Builder:
    """Appends layers to a network, each after the last unless told otherwise."""

    def __init__(self, shape: Shape) -> None:
        """Begin with the input.

        Args:
            shape: Of the input, channels first.
        """
        self._shape = shape
        self._layers: list[Layer] = []

    @property
    def last(self) -> int:
        """The position of the last layer, or `INPUT`."""
        return len(self._layers) - 1

    def channels(self, position: int | None = None) -> int:
        """Return the channels of a layer's output, of the last by default."""
        at = self.last if position is None else position
        return self._shape[0] if at == INPUT else self._layers[at].channels

    def add(self, layer: Layer) -> int:
        """Append a layer and return its position."""
        self._layers.append(layer)
        return self.last

    def conv(
        self,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        activation: Activation = "relu",
        source: int | None = None,
    ) -> int:
        """Append a convolution, and its activation as a layer of its own where engines do not fuse it.

        Args:
            channels: Of its output.
            kernel: Along both axes; the padding keeps the size.
            stride: Along both axes.
            groups: As many as input channels for a depthwise one.
            activation: After it.
            source: What it reads, the last layer by default.

        Returns:
            The position of the last layer appended.
        """
        at = self.last if source is None else source
        fused: Activation = activation if activation in FUSED else "none"
        made = Layer(
            kind="convolution",
            inputs=(at,),
            channels=channels,
            kernel=kernel,
            stride=stride,
            groups=groups,
            activation=fused,
        )
        position = self.add(made)
        return position if activation in FUSED else self.activation(activation)

    def depthwise(self, kernel: int = 3, stride: int = 1, *, activation: Activation = "relu6") -> int:
        """Append a depthwise convolution after the last layer."""
        channels = self.channels()
        return self.conv(channels, kernel, stride, groups=channels, activation=activation)

    def activation(self, activation: Activation) -> int:
        """Append an activation after the last layer."""
        return self.add(Layer(kind="activation", inputs=(self.last,), channels=self.channels(), activation=activation))

    def merge(self, kind: Kind, *inputs: int) -> int:
        """Append a sum, product or concatenation of layers."""
        channels = sum(map(self.channels, inputs)) if kind == "concat" else self.channels(inputs[0])
        return self.add(Layer(kind=kind, inputs=inputs, channels=channels))

    def pool(self, kind: Kind, kernel: int = 1, stride: int = 1, *, source: int | None = None) -> int:
        """Append a pooling layer or an upsampling."""
        at = self.last if source is None else source
        return self.add(Layer(kind=kind, inputs=(at,), channels=self.channels(at), kernel=kernel, stride=stride))

    def linear(self, channels: int) -> int:
        """Append a linear layer; what it reads is flattened."""
        return self.add(Layer(kind="linear", inputs=(self.last,), channels=channels))

    def network(self) -> Network:
        """Return what was built."""
        return Network(self._shape, tuple(self._layers))
