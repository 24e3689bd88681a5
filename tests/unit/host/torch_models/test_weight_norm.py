from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from drupelet_host.torch_models.weight_norm import bake_weights

NORMS = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "weight norm by a hook": torch.nn.utils.weight_norm,
    "spectral norm by a hook": torch.nn.utils.spectral_norm,
}


@pytest.mark.filterwarnings("ignore:.*torch.nn.utils.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("name", NORMS)
def test_a_model_with_plain_weights_computes_what_it_did_and_can_be_copied(name: str) -> None:
    register: Callable[[nn.Module], nn.Module] = NORMS[name]
    torch.manual_seed(0)
    model, inputs = nn.Sequential(register(nn.Linear(6, 4)), nn.ReLU()).eval(), torch.randn(2, 6)
    expected = model(inputs).detach()
    bake_weights(model)
    assert [key for key, _ in model.named_parameters()] == ["0.bias", "0.weight"]
    torch.testing.assert_close(copy.deepcopy(model)(inputs), expected)
    assert pickle.loads(pickle.dumps(model.state_dict())).keys() == model.state_dict().keys()
    # Recovery keeps the best weights and loads them again.
    model.load_state_dict(copy.deepcopy(model.state_dict()))


def test_a_copy_with_plain_weights_leaves_the_original_as_it_was() -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 4))).eval(), torch.randn(2, 6)
    expected = model(inputs).detach()
    bake_weights(copy.deepcopy(model))
    torch.testing.assert_close(model(inputs).detach(), expected)
    assert "0.parametrizations.weight.original0" in model.state_dict()
