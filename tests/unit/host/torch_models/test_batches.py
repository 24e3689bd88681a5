from __future__ import annotations

import pytest
import torch
from torch import nn

from drupelet_host.errors import ModelError
from drupelet_host.torch_models.soundness import check_batches, check_parameters


class Answering(nn.Module):
    """Answers in one of several ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.register_buffer("anchors", torch.zeros(10, 4))

    def forward(self, inputs: torch.Tensor) -> object:
        if self.how == "flattens to one row":
            return inputs.view(1, 8)
        returned = {
            "rows": {"scores": inputs, "anchors": self.anchors.expand(len(inputs), 10, 4)},
            "a constant": {"scores": inputs, "anchors": self.anchors},
            "one number": inputs.mean(),
        }
        return returned[self.how]


def test_outputs_with_a_row_for_each_sample_pass() -> None:
    check_batches(Answering("rows"), torch.zeros(3, 8))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("a constant", r"output 'anchors' has shape \[10, 4\] for 3 samples: .* constant\.expand\(inputs\.shape\[0\]"),
        ("one number", r"output 'output' has shape \[\] for 3 samples: expected the samples along the first axis"),
        ("flattens to one row", r"does not take 3 samples at a time.*\(test_batches\.py, line \d+, in forward\)"),
    ],
)
def test_other_outputs_are_refused_with_advice(how: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_batches(Answering(how), torch.zeros(3, 8))


def test_one_sample_tells_nothing() -> None:
    check_batches(Answering("one number"), torch.zeros(1, 8))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_weights_that_no_engine_computes_with_are_refused_with_advice(kind: torch.dtype) -> None:
    name = str(kind).removeprefix("torch.")
    with pytest.raises(ModelError, match=rf"parameter '0\.weight' is {name}.*call \.float\(\) on the module"):
        check_parameters(nn.Sequential(nn.Linear(2, 2)).to(kind))
