"""The networks with published LiteRT times are those of their papers, and how they are compared."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from benchmarks.latency_model import known_networks
from benchmarks.latency_model.networks import Network
from benchmarks.latency_model.probes import count_macs
from benchmarks.latency_model.published import Comparison
from benchmarks.latency_model.published_litert import read_known, summarize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Multiply-accumulates in millions and parameters in millions, as published; detectors at 640 x 640 and for 80 classes,
# whose heads are larger than those of 20 classes.
PUBLISHED: dict[str, tuple[Callable[[int], Network], int, float, float, float]] = {
    "yolov5n with YOLOv8's heads": (known_networks.yolov5n, 640, 3850, 2.6, 0.09),
    "yolov8n": (known_networks.yolov8n, 640, 4350, 3.2, 0.08),
    "yolov6n": (partial(known_networks.yolov6, depth=0.33, width=0.25), 640, 5550, 4.3, 0.08),
    "mobilenet_v1": (known_networks.mobilenet_v1, 224, 569, 4.2, 0.02),
    "mobilenet_v2": (known_networks.mobilenet_v2, 224, 300, 3.5, 0.02),
    "mobilenet_v3_small": (known_networks.mobilenet_v3_small, 224, 56, 2.5, 0.03),
    "mobilenet_v3_large": (known_networks.mobilenet_v3_large, 224, 219, 5.4, 0.02),
}
CSV = """source,board,runtime,network,input,precision,threads,clock_ghz,ms
a,Raspberry Pi 4 B,XNNPACK,mobilenet_v2,224,fp32,several,unstated,46
a,Raspberry Pi 4 B,XNNPACK,mobilenet_v2,224,int8,several,unstated,17
b,Raspberry Pi 4 B,TFLite (XNNPACK),yolo5n,160,fp32,unstated,unstated,22.65
b,Raspberry Pi 4 B,TFLite (XNNPACK),yolo5n,480,fp32,unstated,unstated,213.2
b,Raspberry Pi 4 B,TFLite (XNNPACK),yolo3l,160,fp32,unstated,unstated,2000
b,Raspberry Pi 4 B,ncnn,mobilenet_v2,,fp32,1,1.8,90
b,RK3399,XNNPACK,mobilenet_v1,224,fp32,2,1.8,80
"""


def count_parameters(network: Network) -> int:
    """Return the weights of convolutions and linear layers, without biases."""
    total = 0
    for position, layer in enumerate(network.layers):
        channels, height, width = network.input_shape(position)
        if layer.kind == "convolution":
            total += layer.channels * channels // layer.groups * layer.kernel**2
        elif layer.kind == "linear":
            total += layer.channels * channels * height * width
    return total


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_has_the_work_and_the_weights_that_its_paper_states(name: str) -> None:
    build, side, macs, parameters, tolerance = PUBLISHED[name]
    network = build(side)
    assert count_macs(network) / 1e6 == pytest.approx(macs, rel=tolerance)
    assert count_parameters(network) / 1e6 == pytest.approx(parameters, rel=tolerance)


def test_yolov7_has_the_work_and_the_weights_that_its_paper_states_before_its_heads() -> None:
    network = known_networks.yolov7(640, width=1)
    # Two branches of three convolutions on each of three levels; a SiLU of its own follows four of the six.
    body = replace(network, layers=network.layers[: -3 * (6 + 4)])
    assert [body.shapes()[-1 - 2 * back][1:] for back in range(3)] == [(20, 20), (40, 40), (80, 80)]
    # 36.9 million and 52.35 billion with one convolution to 255 values on each level.
    widths_and_pixels = ((256, 6400), (512, 1600), (1024, 400))
    heads = 255 * sum(width for width, _ in widths_and_pixels)
    head_macs = 255 * sum(width * pixels for width, pixels in widths_and_pixels)
    assert count_parameters(body) == pytest.approx(36.9e6 - heads, rel=0.005)
    assert count_macs(body) == pytest.approx(52.35e9 - head_macs, rel=0.01)


def test_published_times_are_those_of_the_board_the_engine_and_the_networks_that_are_written(tmp_path: Path) -> None:
    (tmp_path / "published.csv").write_text(CSV, encoding="utf-8")
    assert [known.name for known in read_known(tmp_path)] == ["mobilenet_v2-224_int8", "yolo5n-160", "mobilenet_v2-224"]


def test_one_factor_leaves_what_networks_differ_by() -> None:
    found = summarize(
        [Comparison("a-224", 10, 20), Comparison("b-224", 30, 60), Comparison("b-224_int8", 12, 20)],
    )
    assert found["factor"] == 0.5
    assert [one["error"] for one in found["networks"]] == [0, 0, pytest.approx(-1 / 6, abs=1e-4)]
    assert found["worst_error"] == pytest.approx(1 / 6, abs=1e-4)
    assert found["int8_to_float32"] == {"b-224": {"published": 0.4, "modelled": 0.333}}
