from __future__ import annotations

import numpy as np
import torch

from benchmarks.engines.networks import CLASSES, INPUT_SHAPE, build_raw, count_parameters, images

SMALL_IMAGE = torch.zeros(1, 3, 32, 32)


def test_the_networks_have_the_published_number_of_parameters() -> None:
    # He et al. and Sandler et al. as torchvision counts them, for 1,000 classes.
    assert count_parameters(build_raw("resnet18")) == 11_689_512
    assert count_parameters(build_raw("mobilenet_v2")) == 3_504_872


def test_a_network_is_the_same_every_time() -> None:
    first, second = build_raw("mobilenet_v2").state_dict(), build_raw("mobilenet_v2").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_network_gives_a_score_for_each_class() -> None:
    with torch.no_grad():
        assert build_raw("mobilenet_v2").eval()(SMALL_IMAGE).shape == (1, CLASSES)


def test_images_have_the_networks_input_shape_and_a_range_of_two_to_either_side() -> None:
    made = images(2)
    assert made.shape == (2, *INPUT_SHAPE[1:])
    assert made.dtype == np.float32
    assert -2 <= made.min() < -1 < 1 < made.max() <= 2
