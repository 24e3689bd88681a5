"""ncnn's layers go to float in the order of what they recover for the time that int8 saves in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from drupelet_host.export.ncnn import export_ncnn
from drupelet_host.latency.modelled.layers import LayerShape
from drupelet_host.latency.modelled.table import LatencyTable, load_table
from drupelet_host.quantization.ncnn.savings import look_up_savings, rank_by_worth
from drupelet_host.quantization.ncnn.static import NcnnCalibrated, calibrate_ncnn


def table() -> LatencyTable:
    found = load_table("raspberry_pi_4")
    assert found is not None
    return found


def calibrated(model: nn.Module, folder: Path, *, shape: tuple[int, ...]) -> NcnnCalibrated:
    path = folder / "float.param"
    export_ncnn(model.eval(), shape, path)
    return calibrate_ncnn(path, samples=[{"input": np.ones(shape, np.float32)}])


def test_without_times_the_layer_with_the_largest_error_is_first() -> None:
    assert rank_by_worth({"a": 0.1, "b": 0.3, "c": 0.2}, None) == ["b", "c", "a"]


def test_a_small_error_in_a_layer_that_saves_little_goes_before_a_larger_one_that_saves_much() -> None:
    # 0.04 / 0.1 ms is more than 0.09 / 1 ms.
    assert rank_by_worth({"a": 0.3, "b": 0.2}, {"a": 1.0, "b": 0.1}) == ["b", "a"]
    assert rank_by_worth({"a": 0.3, "b": 0.2}, {"a": 0.1, "b": 0.1}) == ["a", "b"]


def test_layers_that_int8_slows_down_are_first_by_their_errors() -> None:
    errors = {"a": 0.9, "b": 0.1, "c": 0.2, "d": 0.3}
    assert rank_by_worth(errors, {"a": 1.0, "b": -0.5, "c": 0.0}) == ["d", "c", "b", "a"]


def test_every_layer_has_the_difference_of_its_two_times_in_the_table(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 1))
    one = calibrated(model, tmp_path, shape=(1, 3, 24, 24))
    saved = look_up_savings(one, table())
    assert saved is not None
    assert list(saved) == [layer.name for layer in one.layers]
    last = LayerShape(
        kind="convolution",
        in_channels=32,
        out_channels=64,
        in_pixels=576,
        out_pixels=576,
        window=1,
        stride=1,
        groups=1,
        follows_convolution=True,
    )
    expected = table().layer_ms(last, "ncnn", "float32") - table().layer_ms(last, "ncnn", "int8")
    assert saved[one.layers[-1].name] == pytest.approx(expected)
    assert expected > 0


def test_without_a_table_nothing_is_known_of_the_times(tmp_path: Path) -> None:
    one = calibrated(nn.Sequential(nn.Conv2d(3, 8, 3)), tmp_path, shape=(1, 3, 8, 8))
    assert look_up_savings(one, None) is None
