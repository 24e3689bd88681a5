from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.torch_models.digest import digest_module
from drupelet_host.training.finished_parts import NOTHING_FINISHED, FinishedParts
from drupelet_host.training.recovery import prepare_training_data, recover
from support.model.tiny_project import trained


class Evaluation:
    """Counts how often a metric is asked for; each answer is better than the one before."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _: nn.Module) -> float:
        self.count += 1
        return self.count / 100


def recovered(parts: FinishedParts, *, seed: int = 1) -> tuple[str, list[tuple[int, float]], float, int]:
    """Return the recovered model's digest, the epochs, the best metric, and how often the metric was asked for."""
    tiny, epochs, evaluation = trained(), list[tuple[int, float]](), Evaluation()
    model = copy.deepcopy(tiny.model).requires_grad_(requires_grad=True)
    best = recover(
        model,
        prepare_training_data(tiny.model, tiny.train, finished=parts),
        evaluation,
        config=RecoveryConfig(epochs=2),
        seed=seed,
        enough=1.0,
        passes=2,
        on_epoch=lambda epoch, metric: epochs.append((epoch, metric)),
    )
    return digest_module(model), epochs, best, evaluation.count


def test_a_finished_recovery_is_not_repeated_and_looks_as_if_it_were(tmp_path: Path) -> None:
    parts = FinishedParts(tmp_path / "parts")
    digest, epochs, best, asked = recovered(parts)
    assert (len(epochs), len(parts)) == (2, 1)
    assert asked > 0
    assert recovered(parts) == (digest, epochs, best, 0)
    assert recovered(NOTHING_FINISHED) == (digest, epochs, best, asked)


def test_another_recovery_is_another_part(tmp_path: Path) -> None:
    parts = FinishedParts(tmp_path / "parts")
    recovered(parts)
    assert recovered(parts, seed=2)[3] > 0
    assert len(parts) == 2


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    parts = FinishedParts(tmp_path / "parts")
    parts.store("weights", torch.ones(3))
    assert torch.equal(parts.load("weights"), torch.ones(3))
    (file,) = (tmp_path / "parts").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert parts.load("weights") is None
    file.write_bytes(b"")
    assert parts.load("weights") is None


def test_a_part_that_cannot_be_stored_is_not_kept(tmp_path: Path) -> None:
    parts = FinishedParts(tmp_path / "parts")
    parts.store("a function", lambda: None)
    assert parts.load("a function") is None
    (tmp_path / "file").touch()
    FinishedParts(tmp_path / "file").store("weights", torch.ones(3))
    assert (tmp_path / "file").read_bytes() == b""


def test_without_a_folder_nothing_is_kept() -> None:
    NOTHING_FINISHED.store("weights", 1)
    assert (NOTHING_FINISHED.load("weights"), len(NOTHING_FINISHED)) == (None, 0)
