from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from drupelet_host.data.feeds import load_samples, make_samples
from drupelet_host.errors import DataError
from drupelet_host.recipe.sources import NpzSource
from drupelet_shared.tensors import Datatype, TensorSpec

IMAGE = TensorSpec(name="image", datatype=Datatype.FP32, shape=(1, 3, -1, -1))
SENSOR = TensorSpec(name="sensor", datatype=Datatype.INT64, shape=(1,))
MASK = TensorSpec(name="mask", datatype=Datatype.BOOL, shape=(1, 4))


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3, 4, 4))


def test_a_list_of_dictionaries_gives_one_inference_each() -> None:
    wide, tall = np.zeros((1, 3, 4, 9)), np.zeros((1, 3, 9, 4))
    made = make_samples([{"image": wide, "sensor": [3]}, {"image": tall, "sensor": [4]}], [IMAGE, SENSOR], where="here")
    assert [feed["image"].shape for feed in made.feeds] == [(1, 3, 4, 9), (1, 3, 9, 4)]
    assert [feed["sensor"].tolist() for feed in made.feeds] == [[3], [4]]
    assert made.labels is None


def test_values_become_the_datatype_that_the_model_declares() -> None:
    sample = {"image": torch.zeros(1, 3, 4, 4, dtype=torch.float64), "sensor": np.array([7], np.uint8)}
    (feed,) = make_samples([sample], [IMAGE, SENSOR], where="here").feeds
    assert (feed["image"].dtype, feed["sensor"].dtype) == (np.float32, np.int64)
    assert all(array.flags.c_contiguous for array in feed.values())


def test_a_tensor_without_dimensions_takes_a_number_or_a_row_of_an_array(tmp_path: Path) -> None:
    gain = TensorSpec(name="gain", datatype=Datatype.FP32, shape=())
    (feed,) = make_samples([{"image": images(1), "gain": 2}], [IMAGE, gain], where="here").feeds
    assert (feed["gain"].shape, float(feed["gain"])) == ((), 2.0)
    np.savez(tmp_path / "samples.npz", image=images(), gain=np.arange(3.0))
    source = NpzSource(kind="npz", path=tmp_path / "samples.npz")
    made = load_samples(source, [IMAGE, gain], image=None, labels=(), what="train")
    assert [feed["gain"].shape for feed in made.feeds] == [(), (), ()]
    assert [float(feed["gain"]) for feed in made.feeds] == [0.0, 1.0, 2.0]


def test_a_transposed_array_is_laid_out_anew() -> None:
    (feed,) = make_samples([{"image": images(1).transpose(0, 1, 3, 2)}], [IMAGE], where="here").feeds
    assert feed["image"].flags.c_contiguous


def test_labels_may_come_with_a_list() -> None:
    made = make_samples(([{"image": image[None]} for image in images()], [2, 0, 1]), [IMAGE], where="here")
    assert made.labels is not None
    assert made.labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize("labels", [None, [1, 0, 2]])
def test_one_array_is_split_for_a_model_with_one_input(labels: list[int] | None) -> None:
    made = make_samples((images(), labels), [IMAGE], where="here")
    assert [feed["image"].shape for feed in made.feeds] == [(1, 3, 4, 4)] * 3
    np.testing.assert_array_equal(made.feeds[2]["image"][0], images()[2].astype(np.float32))
    assert (made.labels is None) == (labels is None)


def test_an_array_alone_will_do() -> None:
    assert len(make_samples(images(5), [IMAGE], where="here")) == 5


def npz(path: Path, **arrays: Any) -> NpzSource:  # noqa: ANN401 - anything that NumPy saves
    np.savez(path, **arrays)
    return NpzSource(kind="npz", path=path)


def load(source: NpzSource, *specs: TensorSpec) -> Any:  # noqa: ANN401 - samples
    return load_samples(source, specs, image=None, labels=(), what="train")


def test_an_npz_file_has_an_array_for_each_input(tmp_path: Path) -> None:
    source = npz(tmp_path / "a.npz", image=images(), sensor=np.arange(3), labels=np.array([5, 6, 7]))
    made = load(source, IMAGE, SENSOR)
    assert [feed["sensor"].tolist() for feed in made.feeds] == [[0], [1], [2]]
    assert made.labels.tolist() == [5, 6, 7]


@pytest.mark.parametrize("name", ["inputs", "image"])
def test_the_only_input_goes_by_its_own_name_or_by_that_of_modules(tmp_path: Path, name: str) -> None:
    made = load(npz(tmp_path / "a.npz", **{name: images()}), IMAGE)
    assert [set(feed) for feed in made.feeds] == [{"image"}] * 3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": images(), "sensor": np.arange(2)}, "different numbers of samples: {'image': 3, 'sensor': 2}"),
        ({"image": images()}, r"sample 0: has \['image'\]: the model takes \['image', 'sensor'\]"),
        ({"image": images(), "sensor": np.int64(3)}, "sensor: got one value"),
        ({"image": images(), "sensor": np.arange(3) / 2}, "sample 0: input 'sensor' holds float64 numbers"),
        ({"image": images(0), "sensor": np.arange(0)}, "has no samples"),
    ],
)
def test_an_npz_file_that_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"train data a\.npz: .*{message}"):
        load(npz(tmp_path / "a.npz", **arrays), IMAGE, SENSOR)


def test_an_npz_file_of_pickles_is_refused(tmp_path: Path) -> None:
    source = npz(tmp_path / "a.npz", image=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"a\.npz: not an NPZ file of plain arrays"):
        load(source, IMAGE)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "image: got one value"),
        ({"image": images()}, "image: got one value"),
        ("train", "sample 0: has str"),
        ([], "has no samples"),
        ([images(1)], "sample 0: has ndarray"),
        ([{"image": np.zeros((3, 4, 4))}], r"input 'image' has shape \[3, 4, 4\]: the model takes \[1, 3, -1, -1\]"),
        ([{"image": [["a"]]}], "input 'image' cannot become FP32"),
        ([{"image": np.full((1, 3, 2, 2), np.nan)}], "holds NaN or infinity"),
        ([{"image": np.full((1, 3, 2, 2), 1e300)}], "holds NaN or infinity"),
        ((images(), [1, 2]), r"labels have shape \(2,\): expected \(3, \.\.\.\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_what_is_no_sample_is_refused(value: object, message: str) -> None:
    with pytest.raises(DataError, match=f"^here: .*{message}|^here: {message}"):
        make_samples(value, [IMAGE], where="here")


def test_numbers_are_no_mask() -> None:
    with pytest.raises(DataError, match="input 'mask' holds float64 numbers: the model takes BOOL"):
        make_samples([{"mask": np.array([[0.0, 1.0, 0.5, 1.0]])}], [MASK], where="here")
