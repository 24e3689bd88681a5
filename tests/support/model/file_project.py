"""Models that come as files, with their data and recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from drupelet_host.recipe.schema import Recipe, parse_recipe
from support.model.onnx_networks import CLASSES, write_convolutional

WIDTH = 16

DATA_SOURCE = '''
import numpy as np
from drupelet_host.data.dataset import Dataset
from support.model.onnx_networks import draw_images


def train():
    return draw_images(12, seed=1)


def validation():
    return draw_images(24, seed=2)


def labelled():
    """Labels that the model gets wrong in places, as all models do."""
    images = validation()
    return images, np.arange(len(images)) % 5


def too_high():
    return validation(), np.full(24, 5)


def too_few():
    return validation(), np.zeros(7, int)


def one_size():
    """As arrays: the samples along the first axis."""
    random = np.random.default_rng(3)
    return random.standard_normal((24, 3, 8, 8)), np.arange(24) % 5


def wrong_name():
    return [{"picture": sample["image"]} for sample in validation()]


def wrong_channels():
    return [{"image": sample["image"][:, :2]} for sample in validation()]


def one_infinite():
    samples = validation()
    samples[5]["image"][0, 0, 0, 0] = np.inf
    return samples


def nothing():
    return []


def a_number():
    return 4


def a_generator():
    return (sample for sample in validation())


def two_inputs(count=24, seed=4):
    """Signals of several lengths and the number of the sensor that each is from."""
    random = np.random.default_rng(seed)
    return [
        {
            "signal": random.standard_normal((1, 6 + index % 3, 8)),
            "sensor": random.integers(0, 7, 1),
        }
        for index in range(count)
    ]


def two_inputs_train():
    return two_inputs(12, seed=5)


def fractional_sensor():
    return [{**sample, "sensor": sample["sensor"] + 0.5} for sample in two_inputs()]


def as_one_array():
    return np.zeros((4, 6, 8), np.float32), None


def mean_score(answers, labels):
    """As a person would write a metric: from the outputs of all samples."""
    assert labels is None
    return float(np.mean([answer["scores"].max() for answer in answers]))


def broken_metric(answers, labels):
    raise KeyError("boxes")
'''


def write_files(folder: Path) -> Path:
    """A network and the data for it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_convolutional(folder / "model.onnx")
    write_two_inputs(folder / "two.onnx")
    (folder / "data.py").write_text(DATA_SOURCE, encoding="utf-8")
    return folder


def file_recipe(folder: Path, **sections: dict[str, Any]) -> Recipe:
    """The recipe of `model.onnx`, with changes."""
    document: dict[str, dict[str, Any]] = {
        "model": {"name": "net", "version": "1.0.0", "release": 1, "file": "model.onnx"},
        "data": {"train": "data.py:train", "validation": "data.py:validation"},
        "output": {"folder": "build"},
    }
    for name, changes in sections.items():
        document[name] = {**document.get(name, {}), **changes}
    return parse_recipe(document, folder=folder)


def two_inputs_recipe(folder: Path, **sections: dict[str, Any]) -> Recipe:
    """The recipe of `two.onnx`, with changes."""
    given = {
        "model": {"file": "two.onnx", "task": "monitoring"},
        "data": {"train": "data.py:two_inputs_train", "validation": "data.py:two_inputs"},
    }
    merged = {name: {**given.get(name, {}), **sections.get(name, {})} for name in {**given, **sections}}
    return file_recipe(folder, **merged)


def write_two_inputs(path: Path) -> Path:
    """A float signal (1, length, 8) and a sensor's number (1) to a score for each step and one for each class."""
    random = np.random.default_rng(12)

    def draw(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    weights = {
        "embedding": draw(7, WIDTH),
        "w1": draw(8, WIDTH),
        "w2": draw(WIDTH, WIDTH),
        "w3": draw(WIDTH, CLASSES),
        "axes": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["embedding", "sensor"], ["known"]),
        helper.make_node("MatMul", ["signal", "w1"], ["projected"]),
        helper.make_node("Add", ["projected", "known"], ["joined"]),
        helper.make_node("Relu", ["joined"], ["r1"]),
        helper.make_node("MatMul", ["r1", "w2"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["steps"]),
        helper.make_node("ReduceSum", ["steps", "axes"], ["total"], keepdims=0),
        helper.make_node("MatMul", ["total", "w3"], ["scores"]),
    ]
    inputs = [
        helper.make_tensor_value_info("signal", TensorProto.FLOAT, [1, "length", 8]),
        helper.make_tensor_value_info("sensor", TensorProto.INT64, [1]),
    ]
    outputs = [
        helper.make_tensor_value_info("steps", TensorProto.FLOAT, [1, "length", WIDTH]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES]),
    ]
    constants = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "main", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
