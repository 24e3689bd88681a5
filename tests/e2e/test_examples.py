from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "host" / "examples"


def run(script: str, *arguments: str, folder: Path, timeout_s: float = 110) -> str:
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_resnet18_workflow_runs(tmp_path: Path) -> None:
    folder = tmp_path / "resnet18"
    shutil.copytree(EXAMPLES / "resnet18", folder, ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
    text = run("workflow.py", "--samples", "96", "--epochs", "1", folder=folder)
    assert "top-1 in ONNX Runtime, int8" in text
    # 11.2 million float32 weights: the pruned and quantized file must be far below a quarter.
    assert (folder / "resnet18-int8.onnx").stat().st_size < 11_200_000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_cells_of_the_notebook_run_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(EXAMPLES / "digits", folder, ignore=shutil.ignore_patterns("__pycache__", "build", "*.pt"))
    notebook = json.loads((folder / "compile.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (folder / "cells.py").write_text("\n\n".join(cells), encoding="utf-8")
    text = run("cells.py", folder=folder, timeout_s=500)
    before, after = (float(share) for share in re.findall(r"top-1 of the \w+: ([\d.]+)%", text))
    assert after >= before - 1
    assert "ort-" in text


def test_the_notebook_is_kept_without_output() -> None:
    notebook = json.loads((EXAMPLES / "digits/compile.ipynb").read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in notebook["cells"])
