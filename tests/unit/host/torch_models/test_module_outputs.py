from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch

from drupelet_host.errors import ModelError
from drupelet_host.torch_models.outputs import is_nested, name_outputs

A, B = torch.zeros(1, 2), torch.ones(1, 3)


@dataclass
class Answer:
    logits: torch.Tensor
    aux: object = None


class Moments(NamedTuple):
    mean: torch.Tensor
    scale: torch.Tensor


@pytest.mark.parametrize(
    ("returned", "names"),
    [
        (A, ["output"]),
        ([A], ["output"]),
        ((A, B), ["output_0", "output_1"]),
        ({"boxes": A, "scores": B}, ["boxes", "scores"]),
        ({3: A}, ["3"]),
        ({"boxes": A, "aux": [B, {"age": A}]}, ["boxes", "aux.0", "aux.1.age"]),
        ((A, (A, B)), ["output_0", "output_1.0", "output_1.1"]),
        (([A, B],), ["output.0", "output.1"]),
        (Answer(A, {"maps": (A, B)}), ["logits", "aux.maps.0", "aux.maps.1"]),
        (Moments(A, B), ["mean", "scale"]),
        ([A, Moments(A, B)], ["output_0", "output_1.mean", "output_1.scale"]),
        (OrderedDict(z=A, a=OrderedDict(b=B)), ["z", "a.b"]),
    ],
)
def test_outputs_have_names_of_their_own(returned: object, names: list[str]) -> None:
    assert list(name_outputs(returned)) == names


def test_given_names_are_taken_in_the_modules_order() -> None:
    assert name_outputs({"b": B, "a": A}, names=["first", "second"]) == {"first": B, "second": A}


@pytest.mark.parametrize("returned", [(A, None), [A, (None, [])], {"output_0": A, "loss": None}])
def test_none_and_empty_containers_are_no_outputs(returned: object) -> None:
    assert list(name_outputs(returned)) == ["output_0"]


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        (None, "nothing"),
        ((A, (B, 3)), r"int in 'output_1\.1'"),
        (Answer(A, "text"), "str in 'aux'"),
        ({"loss": 0.5, "y": A}, "float in 'loss'"),
        (Answer, "type"),
        ({}, "nothing"),
        ((), "nothing"),
        (3, "int"),
    ],
)
def test_what_is_no_tensor_is_refused_with_its_place_and_advice(returned: object, what: str) -> None:
    with pytest.raises(ModelError, match=f"model returns {what}: expected a tensor, or .*return the tensors alone"):
        name_outputs(returned)


def test_two_outputs_of_one_name_are_refused() -> None:
    with pytest.raises(ModelError, match=r"two outputs called 'a\.b'"):
        name_outputs({"a.b": A, "a": {"b": B}})


@pytest.mark.parametrize("returned", [A, (A, B), [A], {"a": A}])
def test_an_exporter_takes_plain_containers_of_tensors(returned: object) -> None:
    assert not is_nested(returned)


@pytest.mark.parametrize("returned", [(A, None), (A, (B,)), {"a": [A]}, Moments(A, B), Answer(A), OrderedDict(a=A)])
def test_every_other_value_is_flattened_for_an_exporter(returned: object) -> None:
    assert is_nested(returned)


def test_more_or_fewer_names_than_tensors_are_refused() -> None:
    with pytest.raises(ModelError, match=r"model\.outputs names 3 tensors \(a, b, c\): the model returns 2"):
        name_outputs((A, B), names=["a", "b", "c"])
