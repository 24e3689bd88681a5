"""From a model to a recipe that compiles, and the check of a recipe before any work."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from drupelet_host.recipe.schema import load_recipe
from support.broker.brokers import free_port
from support.model.task_project import write_detector, write_segmentation
from support.model.tflite_models import write_linear_tflite
from support.package.served_packages import linear_weights

SHAPES = Path(__file__).parents[3] / "host" / "examples" / "shapes"


TWO_INPUTS = """
import torch
from torch import nn


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.tokens, self.head = nn.Conv2d(3, 8, 3), nn.Embedding(9, 4), nn.Linear(13, 3)

    def forward(self, image, tokens, known):
        about = self.tokens(tokens).mean(1)
        seen = self.image(image).relu().mean((2, 3))
        return self.head(torch.cat([seen, about, known.unsqueeze(1).float()], 1))


def build():
    # Other weights at each start would be a model at each start whose few answers int8 may or may not keep.
    torch.manual_seed(0)
    return Both()
"""


def drupelet(*words: str | Path, folder: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "drupelet_host", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, cwd=folder)
    assert done.returncode == status, done.stderr
    return done


def write_token_model(path: Path) -> Path:
    """Two integer inputs of variable length."""
    nodes = [
        helper.make_node("Add", ["tokens", "mask"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["y"], to=TensorProto.FLOAT),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"]) for name in ("tokens", "mask")]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "length"])]
    graph = helper.make_graph(nodes, "tokens", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_file_becomes_a_recipe_that_checks_and_compiles(tmp_path: Path) -> None:
    write_segmentation(tmp_path / "model.onnx")
    shown = drupelet("init", "model.onnx", "--name", "squares", "--output", "project", folder=tmp_path).stdout
    assert "image: FP32 [1, 3, 32, 32]" in shown
    recipe = load_recipe(tmp_path / "project/recipe.toml")
    assert recipe.image is not None
    assert (recipe.image.color, recipe.image.height) == ("rgb", 32)
    checked = drupelet("check", "project/recipe.toml", folder=tmp_path).stdout
    assert "is ready: drupelet compile project/recipe.toml" in checked
    assert not (tmp_path / "project/build").exists()
    drupelet("compile", "project/recipe.toml", "--quiet", "--no-cache", folder=tmp_path)
    assert (tmp_path / "project/build/squares-1.0.0.drupe").is_file()


def test_a_factory_takes_its_shape_and_weights(tmp_path: Path) -> None:
    for name in ("model.py", "train.py", "data.py"):
        shutil.copy(SHAPES / name, tmp_path / name)
    words = ("init", "model.py:build", "--input-shape", "1,1,16,16", "--output", "project")
    shown = drupelet(*words, folder=tmp_path).stdout
    assert "million multiply-accumulates" in shown
    recipe = load_recipe(tmp_path / "project/recipe.toml")
    assert recipe.model.input_shape == (1, 1, 16, 16)
    assert recipe.model.task == "classification"
    result = json.loads(drupelet("check", "project/recipe.toml", "--json", folder=tmp_path).stdout)
    assert result["metric"] == "agreement"
    assert result["samples"] == {"train": 64, "validation": 64}
    assert result["passes"][:4] == ["evaluate", "importance", "sensitivity", "prune"]


def test_what_was_found_of_a_model_and_written_is_told_as_json(tmp_path: Path) -> None:
    write_segmentation(tmp_path / "model.onnx")
    told = json.loads(drupelet("init", "model.onnx", "--output", "project", "--json", folder=tmp_path).stdout)
    assert told["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [1, 3, 32, 32]}]
    assert (told["task"], told["image"], told["is_pruned"]) == ("tensors", {"color": "rgb", "layout": "NCHW"}, False)
    assert told["size_bytes"] == (tmp_path / "model.onnx").stat().st_size
    assert [told["recipe"], told["data"]] == ["project/recipe.toml", "project/data.py"]
    assert load_recipe(tmp_path / told["recipe"]).model.name == told["name"]


def test_a_check_looks_for_the_boards_before_it_loads_the_model(tmp_path: Path) -> None:
    write_segmentation(tmp_path / "model.onnx")
    drupelet("init", "model.onnx", folder=tmp_path)
    (tmp_path / "data.py").write_text("raise RuntimeError('loaded')\n")
    with (tmp_path / "recipe.toml").open("a") as recipe:
        recipe.write(f'\n[target.boards]\ndevices = ["pi-7"]\nbroker = "mqtt://localhost:{free_port()}"\n')
    for command in ("check", "compile"):
        done = drupelet(command, "recipe.toml", folder=tmp_path, status=1)
        assert "no MQTT broker listens there" in done.stderr, done.stderr
        assert done.stderr.rstrip().endswith("[broker_unreachable]")


def test_a_factory_of_several_inputs_takes_a_shape_for_each(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(TWO_INPUTS)
    shapes = ("--input-shape", "image=1,3,8,8", "--input-shape", "tokens=1x6:int64", "--input-shape", "known=1:BOOL")
    shown = drupelet("init", "model.py:build", *shapes, "--name", "both", folder=tmp_path).stdout
    assert "tokens: INT64 [1, 6]" in shown
    recipe = load_recipe(tmp_path / "recipe.toml")
    stated = [(spec.name, spec.shape, spec.datatype) for spec in recipe.model.specs]
    assert stated == [("image", (1, 3, 8, 8), "FP32"), ("tokens", (1, 6), "INT64"), ("known", (1,), "BOOL")]
    with (tmp_path / "recipe.toml").open("a", encoding="utf-8") as file:
        file.write('\n[prune]\nprune_ratio = 0.0\n\n[quantize]\nmethod = "minmax"\nvariants = ["static"]\n')
    drupelet("compile", "recipe.toml", "--quiet", "--no-cache", folder=tmp_path)
    assert (tmp_path / "build/both-1.0.0.drupe").is_file()


def test_a_single_input_of_integers_has_a_name_and_a_datatype(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "from torch import nn\n\n\n"
        "def build():\n    return nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(24, 3))\n"
    )
    drupelet("init", "model.py:build", "--input-shape", "tokens=1,6:INT64", "--name", "words", folder=tmp_path)
    result = json.loads(drupelet("check", "recipe.toml", "--json", folder=tmp_path).stdout)
    assert result["samples"] == {"train": 64, "validation": 64}


@pytest.mark.parametrize("kind", ["tokens", "detector", "tflite"])
def test_the_recipes_of_other_models_check_too(tmp_path: Path, kind: str) -> None:
    if kind == "tflite":
        write_linear_tflite(tmp_path / "net.tflite", linear_weights())
    elif kind == "tokens":
        write_token_model(tmp_path / "net.onnx")
    else:
        write_detector(tmp_path / "net.onnx", merged=True)
    file = next(tmp_path.glob("net.*")).name
    drupelet("init", file, folder=tmp_path)
    drupelet("check", "recipe.toml", folder=tmp_path)
    text = (tmp_path / "recipe.toml").read_text()
    assert ("# [detection]" in text) == (kind == "detector")


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    write_segmentation(tmp_path / "model.onnx")
    (tmp_path / "data.py").write_text("mine = True\n")
    done = drupelet("init", "model.onnx", folder=tmp_path, status=1)
    assert "data.py exists: choose another folder with --output, or replace what is there with --force" in done.stderr
    assert (tmp_path / "data.py").read_text() == "mine = True\n"
    assert not (tmp_path / "recipe.toml").exists()
    drupelet("init", "model.onnx", "--force", folder=tmp_path)
    assert "RANDOM NUMBERS" in (tmp_path / "data.py").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("network.bin",), "expected a file (.onnx, .pt2, .tflite) or a factory (model.py:build)"),
        (("nothing.onnx",), "there is no file"),
        (("model.py:build",), "a factory needs --input-shape"),
        (("model.py:build", "--input-shape", "3,cat"), "expected whole numbers"),
        (("model.py:build", "--input-shape", "1,3", "--input-shape", "b=1,3"), "a name before the shape of each input"),
        (("model.py:build", "--input-shape", "a=1,3:float"), "'float' is no datatype: expected one of FP32"),
        (("model.py:build", "--input-shape", "a=1,3", "--input-shape", "a=1,4"), "several inputs have this name"),
        (("a.onnx", "--input-shape", "1,3"), "--input-shape and --weights are for a factory"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    command = [sys.executable, "-m", "drupelet_host", "init", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=110, check=False, cwd=tmp_path, stdin=subprocess.DEVNULL
    )
    assert done.returncode in {1, 2}
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_check_finds_what_would_end_the_compile(tmp_path: Path) -> None:
    write_segmentation(tmp_path / "model.onnx")
    drupelet("init", "model.onnx", folder=tmp_path)
    data = tmp_path / "data.py"
    data.write_text(data.read_text().replace("[1, 3, 32, 32]).astype", "[1, 3, 30, 32]).astype"))
    done = drupelet("check", "recipe.toml", folder=tmp_path, status=1)
    assert "has shape [1, 3, 30, 32]: the model takes [1, 3, 32, 32]" in done.stderr
