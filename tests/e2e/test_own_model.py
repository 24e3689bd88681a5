"""The guide to a model of one's own: few commands to the first answer, and few lines to edit."""

from __future__ import annotations

import difflib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from support.screen.documentation import ROOT, Command, File, read_page

STEPS = read_page(ROOT / "shared/docs/guides/own-model.md").steps
RECIPE = "my-model/recipe.toml"
MAX_COMMANDS, MAX_EDITED_LINES = 6, 3


def write_model(path: Path) -> None:
    """Write a model with the guide's inputs and outputs: `pictures` (batch, 1, 16, 16) to `scores` (batch, 3)."""
    weights = numpy_helper.from_array(np.ones((256, 3), np.float32), "weights")
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pictures"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
        ],
        "shapes",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 1, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_the_guide_goes_from_a_model_to_an_answer_in_few_commands() -> None:
    commands = [step.text for step in STEPS if isinstance(step, Command)]
    first = next(index for index, text in enumerate(commands) if text.startswith("drupelet init"))
    counted = commands[first:]

    assert counted[-1].startswith("drupelet infer")
    assert len(counted) <= MAX_COMMANDS, counted


@pytest.mark.slow
def test_few_lines_of_the_recipe_that_init_writes_are_edited(tmp_path: Path) -> None:
    write_model(tmp_path / "shapes.onnx")
    command = [sys.executable, "-m", "drupelet_host", "init", "shapes.onnx", "--output", "my-model"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    edited = next(step for step in STEPS if isinstance(step, File) and step.name == RECIPE)

    # The first line of each is a comment: the page has the file's name there.
    before = (tmp_path / RECIPE).read_text(encoding="utf-8").splitlines()[1:]
    after = edited.text.splitlines()[1:]
    changes = [line for line in difflib.ndiff(before, after) if line.startswith("+ ")]

    assert len(changes) <= MAX_EDITED_LINES, changes
    assert len(after) == len(before)
