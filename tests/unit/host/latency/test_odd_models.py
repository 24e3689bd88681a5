"""Estimates of odd files: open sizes, batches, graphs within nodes, layers unlike those of the table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from drupelet_host.cli.estimate import estimate
from drupelet_host.errors import ModelError
from drupelet_host.estimation.model_files import estimate_file, read_layers
from drupelet_host.latency.modelled.layers import ENGINES
from drupelet_shared.errors import InvalidValueError

TARGET = "raspberry_pi_4"
Sizes = Sequence[int | str]


class Recurrent(nn.Module):
    """A network with a layer that no table knows."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.GRU(8, 8, batch_first=True)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.cells(values)[0]
        return outputs


def weights(*shape: int) -> np.ndarray[Any, Any]:
    return np.ones(shape, np.float32)


def write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    shape: Sizes,
    constants: dict[str, np.ndarray[Any, Any]],
    functions: Sequence[onnx.FunctionProto] = (),
) -> Path:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(one.domain, 1) for one in functions)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9), path)
    return path


def write_convolution(path: Path, shape: Sizes, kernel: Sequence[int] = (32, 16, 3, 3)) -> Path:
    return write(path, [helper.make_node("Conv", ["x", "w"], ["y"], name="conv")], shape, {"w": weights(*kernel)})


@pytest.mark.parametrize("shape", [("n", 16, "h", "w"), (1, 16, 32, "w"), (1, "c", 32, 32)])
def test_a_size_that_the_file_leaves_open_is_not_guessed(tmp_path: Path, shape: Sizes) -> None:
    path = write_convolution(tmp_path / "net.onnx", shape)
    with pytest.raises(ModelError, match=r"net\.onnx: input 'x' of shape \(.*\) leaves sizes open .*--input-shape x="):
        read_layers(path)


def test_an_open_size_counts_as_it_is_stated(tmp_path: Path) -> None:
    (stated,) = read_layers(
        write_convolution(tmp_path / "open.onnx", ("n", 16, "h", "w")), input_shapes={"x": (1, 16, 32, 32)}
    )
    (fixed,) = read_layers(write_convolution(tmp_path / "fixed.onnx", (1, 16, 32, 32)))
    assert stated == fixed


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"x": (1, 16, 64, 32)}, r"has shape \(1, 16, 32, w\): 1, 16, 64, 32 was stated"),
        ({"x": (1, 16, 32)}, "1, 16, 32 was stated"),
        ({"z": (1, 16, 32, 32)}, "inputs z were stated: the model takes x"),
    ],
)
def test_a_stated_shape_that_is_not_the_files_is_refused(
    tmp_path: Path, stated: dict[str, tuple[int, ...]], message: str
) -> None:
    path = write_convolution(tmp_path / "net.onnx", (1, 16, 32, "w"))
    with pytest.raises(ModelError, match=message):
        read_layers(path, input_shapes=stated)


def test_shapes_are_not_stated_of_a_format_that_has_fixed_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="others have fixed ones"):
        estimate_file(tmp_path / "net.tflite", target=TARGET, engines=ENGINES, input_shapes={"x": (1, 2)})


def test_an_open_batch_is_of_one_and_a_fixed_one_counts_as_often(tmp_path: Path) -> None:
    (opened,) = read_layers(write_convolution(tmp_path / "open.onnx", ("n", 16, 32, 32)))
    (one,) = read_layers(write_convolution(tmp_path / "one.onnx", (1, 16, 32, 32)))
    (four,) = read_layers(write_convolution(tmp_path / "four.onnx", (4, 16, 32, 32)))
    assert opened == one
    assert four.macs == 4 * one.macs


def test_the_mean_over_a_map_has_the_maps_window_in_each_sample(tmp_path: Path) -> None:
    node = helper.make_node("GlobalAveragePool", ["x"], ["y"])
    (layer,) = read_layers(write(tmp_path / "net.onnx", [node], (4, 8, 5, 5), {}))
    assert (layer.window, layer.in_pixels, layer.out_pixels) == (25, 100, 4)


def test_a_loop_is_not_taken_for_a_node_that_costs_nothing(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"]), helper.make_node("MatMul", ["a", "w"], ["b"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", TensorProto.FLOAT, [8, 8]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, [8, 8]),
        ],
    )
    node = helper.make_node("Loop", ["times", "go", "x"], ["y"], body=body)
    constants = {"w": weights(8, 8), "times": np.array(9), "go": np.array(True)}  # noqa: FBT003 - the value of a tensor
    with pytest.raises(ModelError, match=r"net\.onnx: what Loop costs is not in the latency table"):
        read_layers(write(tmp_path / "net.onnx", [node], (8, 8), constants))


def test_the_nodes_of_a_function_within_the_file_count(tmp_path: Path) -> None:
    function = helper.make_function(
        "local", "Twice", ["a", "w"], ["c"],
        [helper.make_node("MatMul", ["a", "w"], ["b"]), helper.make_node("MatMul", ["b", "w"], ["c"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    node = helper.make_node("Twice", ["x", "w"], ["y"], domain="local")
    layers = read_layers(write(tmp_path / "net.onnx", [node], (1, 64), {"w": weights(64, 64)}, [function]))
    assert [layer.macs for layer in layers] == [4096, 4096]


def test_a_layer_of_the_operator_format_of_int8_is_int8(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "s", "zw", "s", "z"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "s", "z"], ["y"]),
    ]
    constants = {
        "s": np.array(0.1, np.float32),
        "z": np.array(0, np.uint8),
        "zw": np.array(0, np.int8),
        "w": np.ones((32, 16, 3, 3), np.int8),
    }
    layers = read_layers(write(tmp_path / "net.onnx", nodes, (1, 16, 32, 32), constants))
    (convolution,) = [layer for layer in layers if layer.macs]
    assert (convolution.stored, convolution.window, convolution.out_channels) == ("int8", 9, 32)


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [
        ((1, 16, 1000), (32, 16, 9)),
        ((1, 16, 8, 32, 32), (32, 16, 3, 3, 3)),
        ((1, 512, 2048, 2048), (512, 512, 3, 3)),
    ],
)
def test_an_estimate_says_that_its_layers_are_unlike_those_of_the_table(
    tmp_path: Path, shape: Sizes, kernel: Sequence[int]
) -> None:
    path = write_convolution(tmp_path / "net.onnx", shape, kernel)
    (document,) = json.loads(run(path, "--json", "--engine", "ncnn"))["estimates"][:1]
    assert document["extrapolated_share"] > 0.9
    assert [layer["extrapolated"] for layer in document["layers"]] == [True]
    text = run(path)
    assert "unlike those" in text
    assert "\u2026" not in text


@pytest.mark.parametrize("rows", [16, 256])
def test_a_product_of_matrices_takes_longer_in_float_than_in_int8_and_is_no_layer_of_the_table(
    tmp_path: Path, rows: int
) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = write(tmp_path / "net.onnx", [node], (1, rows, 64), {"w": weights(64, 2048)})
    in_float, in_int8 = estimate_file(path, target=TARGET, engines=("onnxruntime",))
    assert in_int8.ms < in_float.ms
    assert in_float.extrapolated_share > 0.9


@pytest.mark.filterwarnings("ignore:The tensor attributes self.cells")  # torch, of every GRU that it exports
def test_a_message_about_a_program_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "recurrent.pt2"
    torch.export.save(torch.export.export(Recurrent().eval(), (torch.zeros(1, 5, 8),)), path)
    with pytest.raises(ModelError, match=r"^recurrent\.pt2.*GRU"):
        read_layers(path)


def test_an_estimate_of_usual_layers_says_nothing_of_the_kind(tmp_path: Path) -> None:
    assert "unlike those" not in run(write_convolution(tmp_path / "net.onnx", (1, 16, 32, 32)))


@pytest.mark.parametrize("stated", ["x", "=1,2", "x=1,,2", "x=0,3", "x=1,-2", "x=a"])
def test_a_shape_that_is_none_is_wrong_usage(tmp_path: Path, stated: str) -> None:
    path = write_convolution(tmp_path / "net.onnx", (1, 16, 32, 32))
    result = CliRunner().invoke(estimate, [str(path), "--input-shape", stated])
    assert result.exit_code == 2
    assert "expected a name and whole numbers" in result.output


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(estimate, list(map(str, words)), env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output
