"""A rewritten LiteRT file answers as the one before, and XNNPACK has less to compute."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ai_edge_litert.schema_py_generated as schema
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from drupelet_host.export.xnnpack_rewriting import rewrite_for_xnnpack
from drupelet_host.latency.modelled.pixel_groups import FLOAT_LANES, INT8_LANES
from drupelet_shared.engines.base import Array
from support.model.tflite_models import write_convolution_tflite

Padding = tuple[tuple[int, int], tuple[int, int]] | str


def weights(rows: int, columns: int, channels: int) -> Array:
    shape = (5, rows, columns, channels)
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def answer(content: bytes) -> Array:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()
    image = np.random.default_rng(4).standard_normal(given["shape"]).astype(np.float32)
    interpreter.set_tensor(given["index"], image)
    interpreter.invoke()
    answered: Array = interpreter.get_tensor(found["index"]).copy()
    return answered


def operators(content: bytes) -> list[str]:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]


def convolved_channels(content: bytes) -> tuple[int, ...]:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    shapes = [tensor.shape for tensor in model.subgraphs[0].tensors if tensor.name == b"weights"]
    return tuple(int(size) for size in shapes[0])


def check_same_answer(before: bytes, after: bytes) -> None:
    expected = answer(before)
    assert np.abs(answer(after) - expected).max() <= 1e-5 * np.abs(expected).max()


@dataclass(frozen=True)
class Convolution:
    """Its window and strides as rows and columns, the channels it reads, and the image's height and width."""

    window: tuple[int, int]
    channels: int
    size: tuple[int, int]
    strides: tuple[int, int]
    padding: Padding = ((1, 1), (1, 1))

    def write(self, folder: Path) -> bytes:
        filled = weights(*self.window, self.channels)
        path = write_convolution_tflite(
            folder / "m.tflite", filled, size=self.size, strides=self.strides, padding=self.padding
        )
        return path.read_bytes()


@pytest.mark.parametrize(
    ("convolution", "grouped"),
    [
        (Convolution((7, 7), 3, (32, 32), (2, 2), ((3, 3), (3, 3))), (5, 7, 4, 6)),
        (Convolution((3, 3), 3, (16, 24), (2, 2)), (5, 3, 2, 6)),
        (Convolution((3, 3), 3, (16, 24), (2, 2), ((0, 1), (0, 1))), (5, 3, 2, 6)),
        (Convolution((3, 3), 1, (16, 16), (2, 2), "SAME"), (5, 3, 2, 2)),
        (Convolution((3, 3), 3, (16, 16), (2, 2), "SAME"), (5, 3, 2, 6)),
        (Convolution((6, 6), 3, (32, 32), (2, 2), ((2, 2), (2, 2))), (5, 6, 3, 6)),
        (Convolution((5, 3), 3, (17, 18), (1, 2), ((2, 2), (1, 0))), (5, 5, 2, 6)),
        (Convolution((11, 11), 3, (40, 40), (4, 4), ((2, 2), (2, 2))), (5, 11, 4, 12)),
        (Convolution((8, 8), 3, (32, 32), (8, 8), "VALID"), (5, 8, 1, 24)),
        (Convolution((3, 3), 4, (16, 16), (2, 2), "VALID"), (5, 3, 2, 8)),
    ],
    ids=str,
)
def test_a_convolution_of_few_channels_that_skips_columns_moves_over_groups_of_them(
    convolution: Convolution, grouped: tuple[int, ...], tmp_path: Path
) -> None:
    before = convolution.write(tmp_path)
    after = rewrite_for_xnnpack(before, lanes=INT8_LANES)
    assert convolved_channels(after) == grouped
    assert operators(after) in (["RESHAPE", "CONV_2D"], ["RESHAPE", "PAD", "CONV_2D"])
    check_same_answer(before, after)


@pytest.mark.parametrize(
    "convolution",
    [
        Convolution((3, 3), 3, (16, 16), (1, 1)),
        Convolution((3, 3), 3, (16, 17), (2, 2)),
        Convolution((3, 3), 8, (16, 16), (2, 2)),
        Convolution((1, 1), 3, (16, 16), (2, 2), "VALID"),
        Convolution((3, 3), 6, (16, 16), (2, 2)),
    ],
    ids=str,
)
def test_a_convolution_that_would_not_gain_is_left_as_it_is(convolution: Convolution, tmp_path: Path) -> None:
    before = convolution.write(tmp_path)
    assert rewrite_for_xnnpack(before, lanes=INT8_LANES) == before


def test_in_float32_wide_windows_alone_gain(tmp_path: Path) -> None:
    files = {
        columns: Convolution((columns, columns), 3, (32, 32), (2, 2), ((2, 3), (2, 3))).write(tmp_path)
        for columns in (3, 6, 7)
    }
    changed = [columns for columns, file in files.items() if rewrite_for_xnnpack(file, lanes=FLOAT_LANES) != file]
    assert changed == [6, 7]


def pooled(folder: Path, *, activation: str, sides: int, fill: float) -> bytes:
    """A convolution of eight channels, and a maximum after so many columns and rows of `fill` on each side."""
    path = write_convolution_tflite(
        folder / "m.tflite",
        weights(3, 3, 8),
        size=(12, 12),
        strides=(1, 1),
        padding="SAME",
        pool=(sides, fill),
        activation=activation,
    )
    return path.read_bytes()


@pytest.mark.parametrize(("activation", "fill"), [("RELU", -np.inf), ("RELU6", -3.4e38), ("RELU", -128.0)])
def test_what_is_never_negative_is_padded_with_zeros_before_a_maximum(
    activation: str, fill: float, tmp_path: Path
) -> None:
    before = pooled(tmp_path, activation=activation, sides=1, fill=fill)
    after = rewrite_for_xnnpack(before, lanes=INT8_LANES)
    assert operators(after) == ["CONV_2D", "PAD", "MAX_POOL_2D"]
    check_same_answer(before, after)


def test_paddings_that_share_their_constant_are_both_rewritten(tmp_path: Path) -> None:
    path = write_convolution_tflite(
        tmp_path / "m.tflite",
        weights(3, 3, 3),
        size=(12, 12),
        strides=(2, 2),
        padding=((1, 1), (1, 1)),
        pool=(1, -np.inf),
    )
    before = path.read_bytes()
    after = rewrite_for_xnnpack(before, lanes=INT8_LANES)
    assert operators(after) == ["RESHAPE", "PAD", "CONV_2D", "PAD", "MAX_POOL_2D"]
    check_same_answer(before, after)


@pytest.mark.parametrize(
    ("activation", "sides", "fill"),
    [("NONE", 1, -np.inf), ("RELU_N1_TO_1", 1, -np.inf), ("RELU", 3, -np.inf), ("RELU", 1, 2.0)],
)
def test_a_padding_that_decides_a_maximum_is_left_as_it_is(
    activation: str, sides: int, fill: float, tmp_path: Path
) -> None:
    before = pooled(tmp_path, activation=activation, sides=sides, fill=fill)
    assert rewrite_for_xnnpack(before, lanes=INT8_LANES) == before


def test_a_rewritten_file_is_not_larger_by_the_weights_it_had(tmp_path: Path) -> None:
    many = np.zeros((64, 7, 7, 3), np.float32)
    path = write_convolution_tflite(
        tmp_path / "m.tflite", many, size=(32, 32), strides=(2, 2), padding=((3, 3), (3, 3))
    )
    before = path.read_bytes()
    assert len(rewrite_for_xnnpack(before, lanes=INT8_LANES)) < len(before) + 64 * 7 * 3 * 4 + 1000


def test_a_file_is_rewritten_once(tmp_path: Path) -> None:
    path = write_convolution_tflite(
        tmp_path / "m.tflite", weights(7, 7, 3), size=(32, 32), strides=(2, 2), padding=((3, 3), (3, 3))
    )
    once = rewrite_for_xnnpack(path.read_bytes(), lanes=INT8_LANES)
    assert rewrite_for_xnnpack(once, lanes=INT8_LANES) == once
