"""The latency table where maps have few pixels, against what the timing model gave for whole networks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from drupelet_host.latency.modelled.layers import ENGINES, PRECISIONS, EngineName, LayerShape, Precision, as_run
from drupelet_host.latency.modelled.table import LatencyTable, load_table

# ResNet18 for images of 32 x 32 pixels in the timing model (`bench-target`, part `recorded`), in milliseconds.
WHOLE_NETWORK_MS: dict[tuple[EngineName, Precision], float] = {
    ("onnxruntime", "float32"): 44.24,
    ("litert", "float32"): 20.34,
    ("ncnn", "float32"): 45.62,
    ("onnxruntime", "int8"): 9.40,
    ("litert", "int8"): 6.45,
    ("ncnn", "int8"): 12.63,
}


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    found = load_table("raspberry_pi_4")
    assert found is not None
    return found


def convolution(width: int, side: int, *, before: int = 0, stride: int = 1, window: int = 9) -> LayerShape:
    return LayerShape(
        kind="convolution",
        in_channels=before or width,
        out_channels=width,
        in_pixels=(side * stride) ** 2,
        out_pixels=side**2,
        window=window,
        stride=stride,
    )


def resnet18(side: int) -> list[LayerShape]:
    """The layers of a ResNet18 whose first convolution halves the image, as a max pooling does after it."""
    shapes = [convolution(64, side // 2, before=3, stride=2, window=49)]
    shapes.append(
        LayerShape(
            kind="max_pool", in_channels=64, out_channels=64, in_pixels=(side // 2) ** 2, out_pixels=(side // 4) ** 2,
            window=9, stride=2,
        )
    )  # fmt: skip
    stages = [(64, side // 4), (128, side // 8), (256, side // 16), (512, side // 32)]
    for (before, _), (width, at) in pairwise([(64, side // 4), *stages]):
        stride = 1 if before == width else 2
        shapes += [convolution(width, at, before=before, stride=stride), convolution(width, at)]
        if stride == 2:
            shapes.append(convolution(width, at, before=before, stride=2, window=1))
        shapes += [addition(width, at), convolution(width, at), convolution(width, at), addition(width, at)]
    return shapes


def addition(width: int, side: int) -> LayerShape:
    return LayerShape(
        kind="add", in_channels=width, out_channels=width, in_pixels=side**2, out_pixels=side**2,
        follows_convolution=True,
    )  # fmt: skip


@pytest.mark.parametrize(("engine", "precision"), WHOLE_NETWORK_MS)
def test_a_network_whose_last_maps_have_one_pixel_is_within_the_range(
    table: LatencyTable, engine: EngineName, precision: Precision
) -> None:
    modelled = WHOLE_NETWORK_MS[engine, precision]
    estimated = table.network_ms(resnet18(32), engine, precision)
    assert estimated == pytest.approx(modelled, rel=0.25)


def test_a_first_layer_on_an_image_costs_more_in_int8_litert_than_its_multiply_accumulates(table: LatencyTable) -> None:
    # Its kernels compute eight input channels at a time. The timing model gave 2.19 multiply-accumulates a nanosecond
    # for 3 channels; 64 have over 9.
    stem, inner = convolution(64, 16, before=3, stride=2, window=25), convolution(64, 16)
    a_second = [layer.macs / table.layer_ms(layer, "litert", "int8") / 1e6 for layer in (stem, inner)]
    assert a_second[0] == pytest.approx(2.19, rel=0.15)
    assert a_second[1] > 2 * a_second[0]


@pytest.mark.parametrize("side", [1, 2, 3, 4, 7])
def test_layers_of_few_pixels_are_not_extrapolated(table: LatencyTable, side: int) -> None:
    shapes = [convolution(width, side) for width in (16, 64, 256, 512)]
    assert all(
        table.covers(shape, engine, precision) for shape in shapes for engine in ENGINES for precision in PRECISIONS
    )


def test_int8_layers_with_many_weights_do_without_the_algorithm_in_ncnn_alone() -> None:
    shapes = resnet18(32)
    without = [shape.in_channels for shape in as_run(shapes, "ncnn", "int8") if not shape.uses_winograd]
    assert set(without) <= {256, 512}
    assert without.count(512) == 3
    assert as_run(shapes, "ncnn", "float32") == as_run(shapes, "onnxruntime", "int8") == tuple(shapes)


def test_a_first_layer_moves_over_groups_of_pixels_in_int8_litert_unless_its_file_has_it_otherwise() -> None:
    first, *others = resnet18(32)
    grouped, *same = as_run([first, *others], "litert", "int8")
    assert (grouped.in_channels, grouped.in_pixels, grouped.window) == (6, first.in_pixels // 2, 7 * 4)
    assert same == others
    assert as_run([first], "litert", "float32") == as_run([first], "onnxruntime", "int8") == (first,)
    in_file = replace(first, is_exported=True)
    assert as_run([in_file], "litert", "int8") == (in_file,)


def test_a_network_of_few_weights_has_the_algorithm_everywhere() -> None:
    shapes = [convolution(64, 8), convolution(128, 4)]
    assert as_run(shapes, "ncnn", "int8") == tuple(shapes)
