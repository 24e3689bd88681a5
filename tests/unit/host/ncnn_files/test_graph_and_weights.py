from __future__ import annotations

import numpy as np
import pytest

from drupelet_host.errors import ExportError
from drupelet_host.ncnn_files.graph import NcnnLayer, parse_graph
from drupelet_host.ncnn_files.weights import blocks_of, read_weights, write_weights

GRAPH = """7767517
3 3
Input                    in0                      0 1 in0
Convolution              conv                     1 1 in0 a 0=2 1=3 5=1 6=54 9=3 -23310=2,0.0,6.0
InnerProduct             linear                   1 1 a out0 0=4 1=0 2=8
"""


def content(*, tag: bytes = bytes(4)) -> bytes:
    values = np.arange(54 + 2 + 8, dtype=np.float32)
    return tag + values[:54].tobytes() + values[54:56].tobytes() + tag + values[56:].tobytes()


def test_a_graph_reads_as_it_was_written() -> None:
    graph = parse_graph(GRAPH)
    assert parse_graph(graph.to_text()) == graph
    assert graph.layers[1] == NcnnLayer(
        "Convolution",
        "conv",
        ("in0",),
        ("a",),
        {0: "2", 1: "3", 5: "1", 6: "54", 9: "3", -23310: "2,0.0,6.0"},
    )
    assert [layer.name for layer in graph.readers("a")] == ["linear"]


@pytest.mark.parametrize(
    "text", ["", "7767517\n", "7767518\n1 1\nInput in0 0 1 in0\n", "7767517\n2 2\nInput i 0 1 i\n"]
)
def test_what_is_no_graph_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="graph"):
        parse_graph(text)


def test_weights_read_as_they_were_written() -> None:
    graph = parse_graph(GRAPH)
    weights = read_weights(graph, content(), name="m")
    assert {name: [array.size for array in arrays] for name, arrays in weights.items()} == {
        "conv": [54, 2],
        "linear": [8],
    }
    assert write_weights(graph, weights) == content()


def test_float16_halves_what_has_a_flag_and_leaves_values_that_do_not_fit() -> None:
    graph = parse_graph(GRAPH)
    weights = read_weights(graph, content(), name="m")
    halves = write_weights(graph, weights, float16=True)
    assert len(halves) == 4 + 54 * 2 + 2 * 4 + 4 + 8 * 2
    large = {**weights, "linear": (np.full(8, 1e6, np.float32),)}
    assert len(write_weights(graph, large, float16=True)) == 4 + 54 * 2 + 2 * 4 + 4 + 8 * 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (content() + bytes(4), "account for 264 of 268 bytes"),
        (content()[:-4], "end within InnerProduct linear"),
        (content(tag=b"\x47\x6b\x30\x01"), "are not float32"),
    ],
    ids=["more", "less", "float16"],
)
def test_weights_that_the_layers_do_not_account_for_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        read_weights(parse_graph(GRAPH), data, name="m")


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("BatchNorm b 1 1 a c 0=8", [8, 8, 8, 8]),
        ("Scale s 1 1 a c 0=8 1=1", [8, 8]),
        ("Scale s 2 1 a b c 0=-233", []),
        ("LayerNorm n 1 1 a c 0=8 2=0", []),
        ("GroupNorm n 1 1 a c 0=2 1=8", [8, 8]),
        ("LSTM l 1 1 a c 0=4 1=96 2=2", [96, 32, 128]),
        ("GRU g 1 1 a c 0=4 1=36 2=0", [36, 16, 48]),
        ("Gemm g 1 1 a c 5=1 6=1 7=2 8=3 9=4 10=4", [12, 3]),
        ("MemoryData m 0 1 c 0=3 1=2", [6]),
        ("Embed e 1 1 a c 0=4 1=10 3=40", [40]),
        ("ReLU r 1 1 a c", []),
    ],
)
def test_each_kind_of_layer_has_the_arrays_that_ncnn_reads(line: str, counts: list[int]) -> None:
    (layer,) = parse_graph(f"7767517\n1 1\n{line}\n").layers
    assert [block.count for block in blocks_of(layer)] == counts
