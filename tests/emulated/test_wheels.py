"""What the agent needs installs on the Raspberry Pi's Pythons without a compiler, and takes little room."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WHEELHOUSE = Path(__file__).resolve().parents[2] / "deploy/wheelhouse"
PYTHONS = ("3.11", "3.13")
NATIVE = {"onnxruntime": {"onnxruntime"}, "litert": {"ai_edge_litert"}, "both": {"onnxruntime", "ai_edge_litert"}}
pytestmark = [pytest.mark.emulated, pytest.mark.slow, pytest.mark.timeout(300)]


def collect(folder: Path, *, python: str, engine: str) -> list[Path]:
    """The wheels for aarch64 that `deploy/wheelhouse` finds."""
    command = [str(WHEELHOUSE), "--python", python, "--engine", engine, "--with", sys.executable, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stderr
    return list(folder.glob("*.whl"))


def megabytes(wheels: list[Path]) -> float:
    return sum(wheel.stat().st_size for wheel in wheels) / 1e6


@pytest.mark.parametrize("python", PYTHONS)
def test_everything_the_agent_needs_has_a_wheel_for_aarch64(tmp_path: Path, python: str) -> None:
    wheels = collect(tmp_path, python=python, engine="both")
    tags = {wheel.stem.rpartition("-")[2] for wheel in wheels}
    assert all(tag == "any" or "aarch64" in tag for tag in tags), tags
    native = {wheel.name.partition("-")[0]: wheel.name for wheel in wheels if "aarch64" in wheel.name}
    assert all(f"-cp{python.replace('.', '')}-" in native[engine] for engine in NATIVE["both"]), native
    # Neither a training framework nor what compiles.
    assert not {"torch", "onnx", "tensorflow"} & {wheel.name.partition("-")[0] for wheel in wheels}
    assert megabytes(wheels) < 80


@pytest.mark.parametrize(("engine", "limit"), [("onnxruntime", 60), ("litert", 56)])
def test_one_engine_comes_without_the_other_and_smaller(tmp_path: Path, engine: str, limit: float) -> None:
    wheels = collect(tmp_path, python="3.11", engine=engine)
    names = {wheel.name.partition("-")[0] for wheel in wheels}
    assert names & NATIVE["both"] == NATIVE[engine]
    assert megabytes(wheels) < limit
