from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from drupelet_host.errors import ModelError
from drupelet_host.recipe.schema import Precision, RecoveryConfig
from drupelet_host.torch_models.device import (
    CPU,
    choose_device,
    describe_device,
    device_of,
    fits,
    on_device,
    use_bfloat16,
)
from drupelet_host.torch_models.inputs import make_tensors
from drupelet_host.training.fake_quantization import fake_quantized
from drupelet_host.training.recovery import recover
from drupelet_host.training.step import can_be_recorded
from drupelet_host.training.training_data import prepare_training_data
from support.model.tiny_project import trained

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
META = torch.device("meta")


def recovered(precision: Precision) -> dict[str, torch.Tensor]:
    rising = itertools.count()
    model = copy.deepcopy(trained().model).requires_grad_(requires_grad=True)
    recover(
        model,
        prepare_training_data(trained().model, trained().train),
        # Each state is the best so far, so that the last is kept.
        lambda _: next(rising),
        config=RecoveryConfig(precision=precision),
        seed=0,
        enough=math.inf,
        passes=1,
        on_epoch=lambda _epoch, _metric: None,
    )
    return model.state_dict()


@without_gpu
def test_without_a_gpu_the_cpu_trains() -> None:
    assert choose_device("auto") == choose_device("cpu") == CPU
    assert describe_device(CPU) == "cpu"


@without_gpu
def test_a_gpu_that_is_not_there_is_an_error_that_says_so() -> None:
    with pytest.raises(ModelError, match=r"device = 'cuda': PyTorch .* finds no GPU here; take 'auto' or 'cpu'"):
        choose_device("cuda")


def test_a_module_is_back_where_it_was_after_the_block() -> None:
    model = nn.Linear(2, 2, device=META)
    assert device_of(model) == META
    with on_device(model, META):
        assert device_of(model) == META
    assert device_of(nn.ReLU()) == CPU


def test_bfloat16_is_for_gpus_unless_asked_for() -> None:
    gpu = torch.device("cuda", 0)
    assert [use_bfloat16(wanted, gpu) for wanted in ("auto", "float32", "bfloat16")] == [True, False, True]
    assert [use_bfloat16(wanted, CPU) for wanted in ("auto", "float32", "bfloat16")] == [False, False, True]


def test_what_the_cpu_holds_already_fits() -> None:
    assert fits(10**18, CPU)


@pytest.mark.slow
def test_training_in_bfloat16_keeps_float32_weights_and_computes_something_else() -> None:
    plain, coarse = recovered("float32"), recovered("bfloat16")
    assert all(torch.equal(value, recovered("auto")[name]) for name, value in plain.items())
    assert {value.dtype for value in coarse.values()} == {value.dtype for value in plain.values()}
    assert any(not torch.equal(value, coarse[name]) for name, value in plain.items())


def test_a_step_with_python_in_it_is_not_recorded() -> None:
    model = copy.deepcopy(trained().model)
    assert can_be_recorded(model)
    with fake_quantized(model, make_tensors(trained().train.inputs)):
        assert not can_be_recorded(model)
    handle = model.register_forward_hook(lambda *_: None)
    assert not can_be_recorded(model)
    handle.remove()
    prune.l1_unstructured(model.conv1, "weight", 0.5)
    assert can_be_recorded(model)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_weights_twice() -> None:
    training_data = prepare_training_data(trained().model, trained().train, device=choose_device("cuda"))
    results = []
    for _ in range(2):
        rising = itertools.count()
        model = copy.deepcopy(trained().model).requires_grad_(requires_grad=True)
        recover(
            model,
            training_data,
            lambda _, rising=rising: next(rising),  # type: ignore[misc]
            config=RecoveryConfig(),
            seed=0,
            enough=math.inf,
            passes=4,
            on_epoch=lambda _epoch, _metric: None,
        )
        results.append(model.state_dict())
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())
