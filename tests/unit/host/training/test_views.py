from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from drupelet_host.compiler.lineage import digest_module
from drupelet_host.data.dataset import Dataset
from drupelet_host.errors import DataError
from drupelet_host.pruning.structure.groups import remove_channels
from drupelet_host.recipe.schema import AugmentConfig, RecoveryConfig
from drupelet_host.training.augmentation import Views, choose_views
from drupelet_host.training.recovery import recover
from drupelet_host.training.training_data import prepare_training_data
from support.model.tiny_project import INPUT_SHAPE, trained

PICTURE = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])[None, None]


def view(*, mirrored: bool = False, down: int = 0, right: int = 0) -> list[list[float]]:
    views = Views(torch.tensor([mirrored]), torch.tensor([down]), torch.tensor([right]))
    return views.show(PICTURE, torch.tensor([0]))[0, 0].tolist()


def test_an_image_moves_and_its_border_repeats() -> None:
    assert view(down=1) == [[1, 2, 3], [1, 2, 3], [4, 5, 6]]
    assert view(right=-1) == [[2, 3, 3], [5, 6, 6], [8, 9, 9]]


def test_a_mirrored_image_has_left_and_right_exchanged() -> None:
    assert view(mirrored=True) == [[3, 2, 1], [6, 5, 4], [9, 8, 7]]


def test_each_image_is_shown_in_a_view_of_its_own() -> None:
    views = Views(torch.tensor([False, True]), torch.tensor([0, 0]), torch.tensor([0, 0]))
    shown = views.show(torch.cat([PICTURE, PICTURE]), torch.tensor([1, 0]))
    assert shown[0, 0].tolist() == view(mirrored=True)
    assert shown[1, 0].tolist() == view()


def test_the_first_view_is_the_image_and_the_others_stay_within_what_is_allowed() -> None:
    views = choose_views(AugmentConfig(shift=2, views=64), torch.zeros(1, 3, 8, 8), seed=0)
    assert views is not None
    assert not views.mirrored.any()
    assert (views.down[0], views.right[0]) == (0, 0)
    assert set(views.down.tolist()) == set(views.right.tolist()) == {-2, -1, 0, 1, 2}
    mirrored = choose_views(AugmentConfig(mirror=True, views=64), torch.zeros(1, 3, 8, 8), seed=0)
    assert mirrored is not None
    assert set(mirrored.mirrored.tolist()) == {False, True}
    assert not mirrored.mirrored[0]
    assert not mirrored.down.any()


def test_a_target_is_the_originals_answer_to_the_view_that_is_shown() -> None:
    original = copy.deepcopy(trained().model).eval()
    training_data = prepare_training_data(
        original, trained().train, augment=AugmentConfig(mirror=True, shift=1, views=4)
    )
    batch = training_data.take(torch.arange(12), torch.arange(12) % 4)
    with torch.inference_mode():
        expected = original(batch.inputs)
    torch.testing.assert_close(next(iter(batch.answers.values())), expected)
    assert not torch.equal(batch.inputs, training_data.samples.inputs[:12])


def test_recovery_with_views_gives_the_same_weights_from_the_same_seed_and_others_than_without() -> None:
    def weights(augment: AugmentConfig | None) -> str:
        model = copy.deepcopy(trained().model)
        remove_channels(model, torch.zeros(INPUT_SHAPE), {"conv1": 8}, importance="l2")
        training_data = prepare_training_data(copy.deepcopy(trained().model), trained().train, augment=augment)
        # Always better than before: the last state is the one that is kept.
        metrics = iter(range(10))
        recover(
            model.requires_grad_(requires_grad=True),
            training_data,
            lambda _: next(metrics),
            config=RecoveryConfig(augment=augment),
            seed=0,
            enough=100,
            passes=2,
            on_epoch=lambda _e, _m: None,
        )
        return digest_module(model)

    shifted = AugmentConfig(shift=1, views=3)
    assert weights(shifted) == weights(shifted)
    assert weights(shifted) != weights(None)


def test_what_is_no_image_has_no_other_views() -> None:
    signals = Dataset(np.zeros((4, 1, 16), np.float32), None)
    with pytest.raises(DataError, match=r"inputs of shape \[1, 16\]: expected images"):
        prepare_training_data(torch.nn.Flatten(), signals, augment=AugmentConfig(shift=1))


def test_a_shift_beyond_the_image_is_refused() -> None:
    with pytest.raises(DataError, match=r"shift = 8: expected less than the image's 8 pixels"):
        choose_views(AugmentConfig(shift=8), torch.zeros(1, 3, 8, 8), seed=0)


def test_views_that_would_all_be_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match="expected mirror = true or a shift above 0"):
        AugmentConfig()
