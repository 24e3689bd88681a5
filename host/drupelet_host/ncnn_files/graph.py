"""The text of an ncnn graph file as layers, and back.

Source: ncnn's documentation, "param and model file structure".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_MAGIC = "7767517"
_HEADER_LINES = 2


@dataclass(frozen=True, slots=True)
class NcnnLayer:
    """One layer of a graph.

    Attributes:
        kind: The layer's type, such as "Convolution".
        name: The layer's name, unique in the graph.
        inputs: The tensors it reads.
        outputs: The tensors it writes.
        parameters: The values by identifier, as they are written.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[int, str] = field(default_factory=dict)

    def integer(self, identifier: int, default: int = 0) -> int:
        """Return an integer parameter, or its default."""
        return int(float(self.parameters.get(identifier, default)))


@dataclass(frozen=True, slots=True)
class NcnnGraph:
    """A graph: its layers in order of execution."""

    layers: tuple[NcnnLayer, ...]

    def to_text(self) -> str:
        """Return the content of a graph file; `parse_graph(graph.to_text()) == graph`."""
        tensors = sum(len(layer.outputs) for layer in self.layers)
        lines = [_MAGIC, f"{len(self.layers)} {tensors}", *map(_format_layer, self.layers)]
        return "\n".join(lines) + "\n"

    def readers(self, tensor: str) -> list[NcnnLayer]:
        """Return the layers that read a tensor."""
        return [layer for layer in self.layers if tensor in layer.inputs]


def parse_graph(text: str) -> NcnnGraph:
    """Read the text of a graph file.

    Raises:
        ValueError: The text is not an ncnn graph.
    """
    lines = text.splitlines()
    if len(lines) < _HEADER_LINES or lines[0].strip() != _MAGIC:
        raise ValueError(f"an ncnn graph starts with {_MAGIC}")
    count = int(lines[1].split()[0])
    end = _HEADER_LINES + count
    if len(lines) < end:
        raise ValueError(f"the graph declares {count} layers and has {len(lines) - _HEADER_LINES}")
    return NcnnGraph(tuple(map(_parse_layer, lines[_HEADER_LINES:end])))


def _parse_layer(line: str) -> NcnnLayer:
    words = line.split()
    kind, name, inputs, outputs = words[0], words[1], int(words[2]), int(words[3])
    tensors, parameters = words[4 : 4 + inputs + outputs], words[4 + inputs + outputs :]
    return NcnnLayer(kind, name, tuple(tensors[:inputs]), tuple(tensors[inputs:]), dict(_parse_parameters(parameters)))


def _parse_parameters(words: Sequence[str]) -> Iterator[tuple[int, str]]:
    for word in words:
        identifier, _, value = word.partition("=")
        yield int(identifier), value


def _format_layer(layer: NcnnLayer) -> str:
    parameters = [f"{identifier}={value}" for identifier, value in layer.parameters.items()]
    words = [layer.name, str(len(layer.inputs)), str(len(layer.outputs)), *layer.inputs, *layer.outputs, *parameters]
    return f"{layer.kind:<24} {' '.join(words)}"
