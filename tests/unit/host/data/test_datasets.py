from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drupelet_host.data.dataset import Dataset, check_fits, make_dataset
from drupelet_host.data.image_folder import read_image_folder
from drupelet_host.data.readers import read_idx_pair, read_npz
from drupelet_host.errors import DataError
from drupelet_shared.package.manifest import ImagePreprocessing
from drupelet_shared.tensors import Datatype, TensorSpec

GRAY = ImagePreprocessing(input="input", color="gray", height=4, width=4)


def test_tensors_and_arrays_give_the_same_dataset() -> None:
    arrays = make_dataset((np.ones((3, 2)), [0, 1, 0]), source="arrays")
    tensors = make_dataset((torch.ones(3, 2), torch.tensor([0, 1, 0])), source="tensors")
    assert arrays.inputs.dtype == tensors.inputs.dtype == np.float32
    assert np.array_equal(arrays.inputs, tensors.inputs)
    assert arrays.labels is not None
    assert arrays.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("inputs", "got a str: expected inputs, or a pair"),
        ((np.ones((0, 2)), None), "has no samples"),
        ((np.array([[np.nan]]), None), "NaN or infinity"),
        ((np.ones((3, 2)), [0, 1]), r"labels have shape \(2,\): expected \(3, \.\.\.\)"),
        (([[1, 2], [3]], None), "cannot become an array"),
        ((np.ones((2, 2)), ["cat", "dog"]), "labels are <U3: expected class indices"),
    ],
)
def test_data_of_another_form_is_refused(value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_dataset(value, source="train data")


def test_a_subset_is_the_same_for_the_same_seed() -> None:
    dataset = Dataset(np.arange(50, dtype=np.float32)[:, None], np.arange(50))
    first, again, other = (dataset.subset(10, seed=seed).inputs for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_samples_of_another_shape_do_not_fit() -> None:
    dataset = make_dataset((np.ones((2, 1, 7, 8)), [0, 1]), source="train")
    with pytest.raises(DataError, match=r"has shape \[1, 7, 8\]: the model takes \[1, 8, 8\]"):
        check_fits(
            dataset, specs=[TensorSpec(name="input", datatype=Datatype.FP32, shape=(1, 1, 8, 8))], source="train"
        )


def test_an_npz_gives_its_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", inputs=np.ones((2, 3)), labels=np.array([1, 0]))
    inputs, labels = read_npz(tmp_path / "data.npz")
    assert inputs.shape == (2, 3)
    assert labels is not None
    assert labels.tolist() == [1, 0]


def test_an_npz_without_inputs_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.ones(2))
    with pytest.raises(DataError, match=r"has arrays \['x'\]: expected 'inputs'"):
        read_npz(tmp_path / "data.npz")


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_bytes(b"PK not really")
    with pytest.raises(DataError, match="not an NPZ file"):
        read_npz(tmp_path / "data.npz")


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def test_a_gzipped_idx_pair_is_read_and_scaled(tmp_path: Path) -> None:
    images = np.array([[[0, 255], [51, 0]], [[0, 0], [0, 0]]], dtype=np.uint8)
    (tmp_path / "images").write_bytes(gzip.compress(idx(images)))
    (tmp_path / "labels").write_bytes(idx(np.array([7, 2], dtype=np.uint8)))
    inputs, labels = read_idx_pair(tmp_path / "images", tmp_path / "labels")
    assert inputs.shape == (2, 1, 2, 2)
    assert inputs[0, 0].tolist() == [[0.0, 1.0], [pytest.approx(0.2), 0.0]]
    assert labels.tolist() == [7, 2]


@pytest.mark.parametrize("cut", [1, 3, 9, 15])
def test_a_cut_idx_file_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "images").write_bytes(idx(np.zeros((2, 2, 2), dtype=np.uint8))[:cut])
    with pytest.raises(DataError, match="images"):
        read_idx_pair(tmp_path / "images", tmp_path / "images")


def write_image(path: Path, value: int) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((8, 8), value, dtype=np.uint8)).save(path)


def test_an_image_folder_takes_its_labels_from_the_folders(tmp_path: Path) -> None:
    write_image(tmp_path / "cat" / "1.png", 255)
    write_image(tmp_path / "dog" / "1.png", 0)
    inputs, labels = read_image_folder(tmp_path, GRAY, labels=("dog", "cat"))
    assert inputs.shape == (2, 1, 4, 4)
    assert inputs[:, 0, 0, 0].tolist() == [1.0, 0.0]
    assert labels.tolist() == [1, 0]


def test_a_folder_that_is_no_label_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "bird" / "1.png", 0)
    with pytest.raises(DataError, match="has folders bird: the model's labels are cat, dog"):
        read_image_folder(tmp_path, GRAY, labels=("cat", "dog"))


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match=r"cat/broken\.png: cannot be decoded"):
        read_image_folder(tmp_path, GRAY, labels=())


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match=r"holds no \.jpeg"):
        read_image_folder(tmp_path, GRAY, labels=())
