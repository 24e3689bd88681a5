from __future__ import annotations

import pytest
import torch

from drupelet_host.errors import ModelError
from drupelet_host.torch_models.outputs import name_outputs

A, B = torch.zeros(1, 2), torch.ones(1, 3)


@pytest.mark.parametrize(
    ("returned", "names"),
    [
        (A, ["output"]),
        ([A], ["output"]),
        ((A, B), ["output_0", "output_1"]),
        ({"boxes": A, "scores": B}, ["boxes", "scores"]),
        ({3: A}, ["3"]),
    ],
)
def test_outputs_have_names_of_their_own(returned: object, names: list[str]) -> None:
    assert list(name_outputs(returned)) == names


def test_given_names_are_taken_in_the_modules_order() -> None:
    assert name_outputs({"b": B, "a": A}, names=["first", "second"]) == {"first": B, "second": A}


@pytest.mark.parametrize(
    ("returned", "found"),
    [(None, "NoneType"), ((A, None), "NoneType"), ((A, (B, 3)), "tuple"), ({}, "nothing"), ((), "nothing"), (3, "int")],
)
def test_what_is_no_tensor_is_refused(returned: object, found: str) -> None:
    with pytest.raises(ModelError, match=f"model returns {found}: expected a tensor"):
        name_outputs(returned)


def test_more_or_fewer_names_than_tensors_are_refused() -> None:
    with pytest.raises(ModelError, match=r"model\.outputs names 3 tensors \(a, b, c\): the model returns 2"):
        name_outputs((A, B), names=["a", "b", "c"])
