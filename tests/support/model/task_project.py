"""A detector and a segmentation model made by hand, whose answers are exact, with their pictures and recipes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper
from PIL import Image

from drupelet_host.recipe.schema import Recipe, parse_recipe

TASKS = ("detection", "segmentation")
LABELS = ("red", "green", "blue")
SIZE, CELL = 32, 8
GRID = SIZE // CELL

DATA_SOURCE = """
from support.model.task_project import draw


def boxes_train():
    return draw(16, seed=1)[:2]


def boxes_validation():
    return draw(32, seed=2)[:2]


def masks_train():
    return draw(16, seed=1)[::2]


def masks_validation():
    return draw(32, seed=2)[::2]
"""

Objects = list[dict[str, npt.NDArray[Any]]]


def draw(count: int, *, seed: int) -> tuple[npt.NDArray[np.float32], Objects, npt.NDArray[np.int64]]:
    """Return dark pictures with one to four bright cells, the cells as boxes, and each pixel's brightest channel."""
    random = np.random.default_rng(seed)
    pictures = random.uniform(0, 0.1, (count, 3, SIZE, SIZE)).astype(np.float32)
    # The background is a dark red, so that every pixel has a class that rounding does not change.
    pictures[:, 0] += 0.1
    objects: Objects = []
    for picture in pictures:
        cells = random.choice(GRID * GRID, random.integers(1, 5), replace=False)
        labels = random.integers(0, len(LABELS), len(cells))
        corners = np.stack([cells % GRID, cells // GRID], axis=1) * CELL
        for (x, y), label in zip(corners, labels, strict=True):
            picture[label, y : y + CELL, x : x + CELL] = random.uniform(0.6, 1)
        objects.append({"boxes": np.concatenate([corners, corners + CELL], axis=1), "labels": labels})
    return pictures, objects, pictures.argmax(axis=1)


def write_detector(path: Path, *, merged: bool) -> Path:
    """Write a detector whose cells score the brightness of each channel.

    Args:
        path: The file.
        merged: Whether boxes (centre and size, up to 32 pixels) and scores (up to 1) are one output, as in YOLOv8.
    """
    y, x = np.mgrid[:GRID, :GRID].reshape(2, -1)
    centres = np.stack([(x + 0.5) * CELL, (y + 0.5) * CELL, np.full(x.shape, CELL), np.full(x.shape, CELL)])
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["features"], kernel_shape=[1, 1], name="features"),
        helper.make_node("AveragePool", ["features"], ["cells"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["cells", "shape"], ["scores"]),
        # The boxes follow the picture, as a trained detector's do: by a hair.
        helper.make_node("ReduceMean", ["scores"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "hair"], ["shift"]),
        helper.make_node("Add", ["centres", "shift"], ["boxes"]),
    ]
    outputs = [("boxes", [1, 4, GRID * GRID]), ("scores", [1, 3, GRID * GRID])]
    if merged:
        nodes.append(helper.make_node("Concat", ["boxes", "scores"], ["detections"], axis=1))
        outputs = [("detections", [1, 7, GRID * GRID])]
    constants = {
        "weights": np.eye(3, dtype=np.float32)[:, :, None, None],
        "shape": np.array([1, 3, -1]),
        "hair": np.array(0.01, np.float32),
        "centres": centres[None].astype(np.float32),
    }
    return _write(path, nodes, outputs, constants)


def write_segmentation(path: Path) -> Path:
    """Write a model that scores each pixel's classes by its channels."""
    nodes = [helper.make_node("Conv", ["image", "weights"], ["map"], kernel_shape=[1, 1], name="map")]
    constants = {"weights": np.eye(3, dtype=np.float32)[:, :, None, None]}
    return _write(path, nodes, [("map", [1, 3, SIZE, SIZE])], constants)


def task_recipe(folder: Path, *, task: str, labels: str, **sections: Any) -> Recipe:  # noqa: ANN401 - TOML
    """Return a recipe for `model.onnx` in the folder, with its data.

    Args:
        folder: The recipe's folder.
        task: "detection" or "segmentation".
        labels: "boxes" or "masks".
        sections: Further sections of the recipe.
    """
    (folder / "data.py").write_text(DATA_SOURCE)
    document: dict[str, Any] = {
        "model": {
            "name": task,
            "version": "1.0.0",
            "release": 1,
            "file": "model.onnx",
            "task": task,
            "labels": list(LABELS),
        },
        "data": {"train": f"data.py:{labels}_train", "validation": f"data.py:{labels}_validation"},
        "constraints": {"max_metric_drop": 0.01},
        "quantize": {"method": "minmax"},
        "image": {"color": "rgb", "height": SIZE, "width": SIZE, "resize": "letterbox"},
    }
    return parse_recipe(document | sections, folder=folder)


def signed_recipes(folder: Path, key: Path) -> Iterator[Recipe]:
    """Write both models, and return their recipes, signed.

    Args:
        folder: Where each gets a folder of its own.
        key: The private key.
    """
    sections: dict[str, Any] = {"output": {"key": str(key)}, "quantize": {"method": "minmax", "variants": ["static"]}}
    for task in TASKS:
        (folder / task).mkdir()
    write_detector(folder / "detection/model.onnx", merged=True)
    yield task_recipe(folder / "detection", task="detection", labels="boxes", detection={}, **sections)
    write_segmentation(folder / "segmentation/model.onnx")
    yield task_recipe(folder / "segmentation", task="segmentation", labels="masks", segmentation={}, **sections)


def save_picture(path: Path, *, scale: int) -> tuple[Path, dict[str, npt.NDArray[Any]], npt.NDArray[np.int64]]:
    """Write a picture, enlarged.

    Args:
        path: The file.
        scale: How many pixels of the picture stand for one of the models' input, each way.

    Returns:
        The path, the objects in pixels of the models' input, and the class of each pixel of the picture.
    """
    pictures, objects, classes = draw(1, seed=3)
    pixels = np.round(pictures[0] * 255).astype(np.uint8).transpose(1, 2, 0)
    Image.fromarray(_enlarge(pixels, scale)).save(path)
    return path, objects[0], _enlarge(classes[0], scale)


def _enlarge(pixels: npt.NDArray[Any], scale: int) -> npt.NDArray[Any]:
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def _write(
    path: Path,
    nodes: list[NodeProto],
    outputs: list[tuple[str, list[int]]],
    constants: dict[str, npt.NDArray[Any]],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "squares",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
