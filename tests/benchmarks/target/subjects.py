"""Networks whose plans are compared: trained on Fashion-MNIST and recovered after each step, or with seeded weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.compiler.network import CLASSES, fit
from benchmarks.compiler.network import build as build_resnet18
from benchmarks.compiler.samples import read_fashion
from benchmarks.engines.networks import MobileNetV2, build
from benchmarks.target.distilling import distil
from benchmarks.target.quality import Quality
from benchmarks.target.yolo import TrainedYolo
from drupelet_host.data.dataset import Dataset
from drupelet_host.evaluation.scoring import evaluate_module
from drupelet_host.torch_models.device import choose_device
from drupelet_host.training.recovery import prepare_training_data

_SEED = 0
_SEEDED_SAMPLES = 4
_TRAINING_SAMPLES, _SELECTION_SAMPLES, _CURVE_SAMPLES, _TEST_SAMPLES = 2000, 400, 200, 2000
_EPOCHS, _RECOVERY_EPOCHS = 4, 1
_BATCH = 250
_SIDE = 32


class Subject(Protocol):
    """A network, and what it is judged and recovered with."""

    @property
    def what(self) -> str:
        """The network, its weights and its metric, for people."""

    @property
    def step(self) -> float:
        """The share of the cost that a step removes."""

    @property
    def steps_are_equal_in_time(self) -> bool:
        """Whether a step removes that share of the milliseconds whichever cost a way counts."""

    @property
    def original(self) -> nn.Module:
        """The network that both ways begin with."""

    @property
    def example(self) -> torch.Tensor:
        """An input of the size that it runs at."""

    @property
    def curve_example(self) -> torch.Tensor:
        """An input of the size that its curves are measured at."""

    def score(self, model: nn.Module) -> float:
        """Return what sensitivity curves are made of."""

    def recover(self, model: nn.Module) -> None:
        """Train a narrower model, in place."""

    def judge(self, model: nn.Module) -> Quality:
        """Return the quality of a model."""


class Seeded:
    """A network with seeded weights, which is not recovered: how near its outputs stay to the original's."""

    step = 0.15
    steps_are_equal_in_time = False
    what = "seeded weights, not recovered; metric: 1 less the relative error of the outputs"

    def __init__(self, original: nn.Module, *, side: int, curve_side: int) -> None:
        """Keep the original's outputs.

        Args:
            original: The network.
            side: Of the images that it runs at.
            curve_side: Of those that its curves are measured at, which takes less time.
        """
        self.original = original.eval()
        self.example, self._samples = _smooth(1, side), _smooth(_SEEDED_SAMPLES, curve_side)
        self.curve_example = self._samples[:1]
        with torch.no_grad():
            self._expected = self.original(self._samples)

    def score(self, model: nn.Module) -> float:
        """Return one less the relative error."""
        with torch.no_grad():
            outputs = model.eval()(self._samples)
        error = float((outputs - self._expected).square().sum() / self._expected.square().sum())
        return 1 - float(np.sqrt(error))

    def recover(self, model: nn.Module) -> None:
        """Leave it as it is."""

    def judge(self, model: nn.Module) -> Quality:
        """Return the score."""
        return Quality(self.score(model))


class Trained:
    """A network that was trained on Fashion-MNIST, and is recovered by distillation after each step."""

    step = 0.35
    steps_are_equal_in_time = True

    def __init__(self, build_network: Callable[[], nn.Module], *, scale: int, data: Path, weights: Path) -> None:
        """Train the network where its weights are not there yet.

        Args:
            build_network: Returns it untrained.
            scale: How many times larger than 32 x 32 its images are.
            data: The folder of the four IDX files.
            weights: Where the trained weights are kept.
        """
        self.what = (
            f"trained on {_TRAINING_SAMPLES} images of Fashion-MNIST at {scale * _SIDE} x {scale * _SIDE}, "
            f"{_EPOCHS} epochs; {_RECOVERY_EPOCHS} epoch of distillation after each step, which saves "
            f"{self.step:.0%} of the time; compared at top-1 of {_TEST_SAMPLES} test images"
        )
        whole = _enlarge(read_fashion(data, "train").subset(_TRAINING_SAMPLES + _SELECTION_SAMPLES, seed=_SEED), scale)
        self._training = _cut(whole, 0, _TRAINING_SAMPLES)
        self._selection = _cut(whole, _TRAINING_SAMPLES, len(whole))
        self._test = _enlarge(read_fashion(data, "t10k").subset(_TEST_SAMPLES, seed=_SEED), scale)
        self.example = self.curve_example = torch.from_numpy(self._training.inputs[:1])
        self.original = self._train(build_network, weights)
        self._curve_samples = self._selection.subset(_CURVE_SAMPLES, seed=_SEED)
        self._prepared = prepare_training_data(self.original, self._training, device=choose_device("cpu"))

    def score(self, model: nn.Module) -> float:
        """Return top-1 of a few samples that train nothing."""
        return evaluate_module(model, self._curve_samples)

    def recover(self, model: nn.Module) -> None:
        """Distil from the original, as a compile does."""
        evaluate = partial(evaluate_module, dataset=self._selection)
        distil(model, self._prepared, evaluate, epochs=_RECOVERY_EPOCHS, seed=_SEED)

    def judge(self, model: nn.Module) -> Quality:
        """Return minus the mean cross-entropy, which changes less by chance than top-1."""
        assert self._test.labels is not None, "the files hold labels"
        inputs, labels = torch.from_numpy(self._test.inputs), torch.from_numpy(self._test.labels)
        with torch.no_grad():
            scores = torch.cat([model.eval()(batch) for batch in torch.split(inputs, _BATCH)])
        top1 = float((scores.argmax(dim=1) == labels).float().mean())
        return Quality(-float(functional.cross_entropy(scores, labels)), round(top1, 4))

    def _train(self, build_network: Callable[[], nn.Module], weights: Path) -> nn.Module:
        torch.manual_seed(_SEED)
        model = build_network()
        if weights.is_file():
            model.load_state_dict(torch.load(weights, weights_only=True))
            return model.eval()
        assert self._training.labels is not None, "the files hold labels"
        inputs, labels = torch.from_numpy(self._training.inputs), torch.from_numpy(self._training.labels)
        fit(model, inputs, labels, epochs=_EPOCHS, bfloat16=False)
        partial_file = weights.with_suffix(".part")
        torch.save(model.state_dict(), partial_file)
        partial_file.replace(weights)
        return model.eval()


def make_subjects(data: Path, work: Path) -> Mapping[str, Callable[[], Subject]]:
    """Return what makes each network, by name.

    Args:
        data: The folder of Fashion-MNIST's four IDX files.
        work: Where trained weights are kept.
    """

    def trained(name: str, build_network: Callable[[], nn.Module], scale: int) -> Callable[[], Subject]:
        return lambda: Trained(build_network, scale=scale, data=data, weights=work / f"{name}.pt")

    return {
        "resnet18": trained("resnet18", build_resnet18, 1),
        "mobilenet_v2": trained("mobilenet_v2", lambda: MobileNetV2(CLASSES), 2),
        "yolo": lambda: TrainedYolo(weights=work / "yolo.pt"),
        "resnet18-seeded": lambda: Seeded(build("resnet18"), side=224, curve_side=64),
        "mobilenet_v2-seeded": lambda: Seeded(build("mobilenet_v2"), side=224, curve_side=64),
    }


def _smooth(count: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    coarse = torch.rand(count, 3, side // 16, side // 16, generator=generator)
    return (nn.functional.interpolate(coarse, size=(side, side), mode="bilinear") - 0.5) * 4


def _enlarge(samples: Dataset, scale: int) -> Dataset:
    return Dataset(np.repeat(np.repeat(samples.inputs, scale, axis=2), scale, axis=3), samples.labels)


def _cut(samples: Dataset, start: int, stop: int) -> Dataset:
    assert samples.labels is not None, "the files hold labels"
    return Dataset(samples.inputs[start:stop], samples.labels[start:stop])
