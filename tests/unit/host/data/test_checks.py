"""Parts of the data that were prepared differently, or share samples, are found before any work."""

from __future__ import annotations

import numpy as np
import pytest

from drupelet_host.data.checks import check_ranges, find_overlaps
from drupelet_host.data.dataset import Dataset, make_dataset
from drupelet_host.data.samples import Samples
from drupelet_host.errors import DataError
from drupelet_shared.package.manifest import ImagePreprocessing

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8))


def dataset(values: np.ndarray) -> Dataset:
    return Dataset(values.astype(np.float32), None)


def image(**changes: object) -> ImagePreprocessing:
    return ImagePreprocessing.model_validate({"input": "input", "color": "rgb", "height": 8, "width": 8, **changes})


NORMALISED = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize("train", [PIXELS / 255, (PIXELS / 255 - 0.45) / 0.22])
def test_pixels_up_to_255_beside_scaled_ones_are_refused(train: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"input 'input': train data has values from .*, validation data from 0 to 255"):
        check_ranges({"train": dataset(train), "validation": dataset(PIXELS)}, image=None)


def test_a_quiet_part_beside_a_loud_one_is_no_fault() -> None:
    noise = np.random.default_rng(1).normal(size=(20, 100))
    check_ranges({"train": dataset(noise), "validation": dataset(noise / 20)}, image=None)


def test_parts_of_several_inputs_are_compared_input_by_input() -> None:
    train = Samples([{"a": np.ones((1, 4), np.float32), "ids": np.full((1, 4), 900)}] * 3)
    validation = Samples([{"a": np.full((1, 4), 200, np.float32), "ids": np.ones((1, 4), np.int64)}] * 3)
    with pytest.raises(DataError, match="input 'a'"):
        check_ranges({"train": train, "validation": validation}, image=None)
    check_ranges(
        {"train": train, "validation": Samples([{**train.feeds[0], "ids": np.ones((1, 4), np.int64)}])}, image=None
    )


@pytest.mark.parametrize(
    ("values", "section"),
    [(PIXELS, image()), (PIXELS / 255, image(**NORMALISED)), ((PIXELS / 255 - 0.45) / 0.22, image())],
    ids=["0 to 255", "not normalised", "normalised"],
)
def test_data_that_image_would_not_give_the_device_is_refused(values: np.ndarray, section: ImagePreprocessing) -> None:
    with pytest.raises(DataError, match=r"train data has values from .*: \[image\] gives the model .* on the device"):
        check_ranges({"train": dataset(values)}, image=section)


@pytest.mark.parametrize(
    ("values", "section"), [(PIXELS / 255, image()), ((PIXELS / 255 - 0.45) / 0.22, image(**NORMALISED))]
)
def test_data_as_image_gives_it_is_right(values: np.ndarray, section: ImagePreprocessing) -> None:
    check_ranges({"train": dataset(values)}, image=section)


def test_samples_in_two_parts_are_counted() -> None:
    train, validation = PIXELS[:15], PIXELS[12:]
    assert find_overlaps({"train": dataset(train), "validation": dataset(validation)}) == (
        "3 of 8 validation samples are among the train samples: measurements on them say little about new data",
    )
    assert find_overlaps({"train": dataset(PIXELS[:10]), "validation": dataset(PIXELS[10:])}) == ()


def test_inputs_may_come_alone() -> None:
    made = make_dataset(PIXELS, source="train data")
    assert made.labels is None
    assert made.inputs.dtype == np.float32
