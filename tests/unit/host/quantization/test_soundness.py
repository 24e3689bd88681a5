"""Models that cannot be compiled are refused by the name of what is wrong in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from drupelet_host.errors import ModelError
from drupelet_host.evaluation.answers import check_answers
from drupelet_host.onnx_files.soundness import check_interface, check_repeats, check_weights
from drupelet_host.torch_models.soundness import check_parameters, check_repeats_module
from support.model import odd_networks, rare_networks
from support.model.odd_parts import VECTOR, feeds


def spoil(path: Path, name: str, value: float) -> Path:
    model = onnx.load(path)
    constant = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    values = numpy_helper.to_array(constant).copy()
    values.ravel()[:3] = value
    constant.CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_a_weight_that_is_no_number_is_refused_by_name(tmp_path: Path, value: float, what: str) -> None:
    path = spoil(odd_networks.one_head(tmp_path / "model.onnx"), "w2", value)
    with pytest.raises(ModelError, match=rf"tensor 'w2' of shape \[32, 6\] holds {what} at 3 of 192 values"):
        check_weights(path)


def test_infinity_in_a_mask_is_no_fault(tmp_path: Path) -> None:
    path = odd_networks.unsorted_nodes(tmp_path / "model.onnx")
    check_weights(spoil(path, "two", -np.inf))
    with pytest.raises(ModelError, match="tensor 'two'"):
        check_weights(spoil(path, "two", np.nan))


@pytest.mark.parametrize(
    ("make", "node"),
    [(odd_networks.noisy, r"'noise' \(RandomNormalLike\)"), (odd_networks.training_dropout, r"'d' \(Dropout\)")],
)
def test_a_model_that_draws_random_numbers_is_refused_by_its_node(
    tmp_path: Path, make: Callable[[Path], Path], node: str
) -> None:
    with pytest.raises(ModelError, match=f"node {node} draws random numbers"):
        check_repeats(make(tmp_path / "model.onnx"), feeds(VECTOR)[0])


def test_a_model_whose_answers_hold_nan_each_time_repeats(tmp_path: Path) -> None:
    check_repeats(odd_networks.logarithm(tmp_path / "model.onnx"), feeds(VECTOR)[0])


def test_a_module_that_draws_random_numbers_is_refused_by_its_name() -> None:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.dropout(x, 0.5)

    model = nn.Sequential(nn.Linear(8, 8), Noisy(), nn.Linear(8, 2))
    with pytest.raises(ModelError, match="module '1' draws random numbers"):
        check_repeats_module(model, torch.ones(1, 8))
    check_repeats_module(nn.Sequential(nn.Linear(8, 8), nn.Dropout()), torch.ones(1, 8))


def test_a_parameter_that_is_no_number_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    model.register_buffer("mask", torch.full((4, 4), -torch.inf))
    check_parameters(model)
    with torch.no_grad():
        model[0].weight[1, 2] = torch.inf
    with pytest.raises(ModelError, match=r"tensor '0\.weight' of shape \[4, 4\] holds infinity at 1 of 16 values"):
        check_parameters(model)


def test_an_output_that_is_never_a_number_is_refused() -> None:
    with pytest.raises(ModelError, match="output 'y' holds no finite number in any of 3 answers"):
        check_answers([{"y": np.full((1, 4), np.nan)}] * 3, source="model.onnx")
    broken = [{"y": np.array([1.0, np.nan, value])} for value in (1.0, np.nan, 2.0)]
    with pytest.raises(ModelError, match="output 'y' is NaN at 1 of 3 places in every one of 3 answers"):
        check_answers(broken, source="model.onnx")


def test_an_output_that_is_sometimes_no_number_is_compared_as_it_is() -> None:
    check_answers([{"y": np.array([1.0, np.nan])}, {"y": np.array([np.nan, 2.0])}], source="model.onnx")
    check_answers([{"y": np.array([1.0, -np.inf])}] * 2, source="model.onnx")


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (rare_networks.silent, "it takes no inputs"),
        (rare_networks.named_class, r"output 'y' holds text.* model\.labels of the recipe turns it into text"),
        (rare_networks.shapeless, "input 'x' has no shape: declare its dimensions"),
        (rare_networks.long_name, "has a name of 300 characters: the protocol takes 256"),
    ],
)
def test_a_file_that_a_device_cannot_be_asked_for_is_refused_with_what_to_change(
    tmp_path: Path, make: Callable[[Path], Path], fault: str
) -> None:
    with pytest.raises(ModelError, match=fault):
        check_interface(make(tmp_path / "model.onnx"))
