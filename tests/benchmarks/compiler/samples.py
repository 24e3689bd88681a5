"""Fashion-MNIST as the network takes it: training, selection and test samples that share none."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from benchmarks.compiler.setting import SEED, Setting
from drupelet_host.data.dataset import Dataset
from drupelet_host.data.readers import read_idx_pair

_SELECTION_SAMPLES = 6000
_CALIBRATION_SAMPLES = 128
# Of the training images.
_MEAN, _DEVIATION = 0.2860, 0.3530
_BORDER = 2


def read_training(setting: Setting) -> tuple[Dataset, Dataset]:
    """Return what trains, and what selects: no compiler ever sees the test images."""
    whole = read_fashion(setting.data, "train")
    order = np.random.default_rng(SEED).permutation(len(whole))
    selection = np.sort(order[: min(_SELECTION_SAMPLES, setting.samples)])
    training = np.sort(order[_SELECTION_SAMPLES:][: setting.samples])
    assert whole.labels is not None, "the files hold labels"
    return (
        Dataset(whole.inputs[training], whole.labels[training]),
        Dataset(whole.inputs[selection], whole.labels[selection]),
    )


def read_test(setting: Setting) -> Dataset:
    """Return the 10,000 images that only the report looks at."""
    return read_fashion(setting.data, "t10k")


def pick_calibration(training: Dataset) -> Dataset:
    """Return what shows every quantizer the ranges."""
    return training.subset(_CALIBRATION_SAMPLES, seed=SEED)


def write_archives(setting: Setting) -> tuple[Path, Path]:
    """Training and selection samples as the files that a recipe names."""
    paths = (setting.work / "training.npz", setting.work / "selection.npz")
    if not all(path.is_file() for path in paths):
        for path, samples in zip(paths, read_training(setting), strict=True):
            partial = path.with_suffix(f".{os.getpid()}.npz")
            assert samples.labels is not None, "the files hold labels"
            np.savez(partial, inputs=samples.inputs, labels=samples.labels)
            partial.replace(path)
    return paths


def read_fashion(folder: Path, part: str) -> Dataset:
    """Return the images as the network takes them, with their labels.

    Args:
        folder: Of the four IDX files.
        part: "train" or "t10k".
    """
    images, labels = read_idx_pair(folder / f"{part}-images-idx3-ubyte.gz", folder / f"{part}-labels-idx1-ubyte.gz")
    # 28 x 28 with a border of background is 32 x 32; the network takes three channels.
    padded = np.pad(images, ((0, 0), (0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER)))
    normal = ((padded - _MEAN) / _DEVIATION).astype(np.float32)
    return Dataset(np.ascontiguousarray(np.repeat(normal, 3, axis=1)), labels.astype(np.int64))
