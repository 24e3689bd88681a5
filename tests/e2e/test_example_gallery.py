"""Every example with a recipe is the same four files, and they lead from training to an answer."""

from __future__ import annotations

import ast
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from drupelet_agent.worker.handler import RequestHandler
from drupelet_host.recipe.schema import load_recipe
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.inference import InferenceReply, InferenceRequest, decode_reply, encode_request
from drupelet_shared.package.reading import UnpackedPackage, unpack_package
from drupelet_shared.postprocessing.answer import Answerer

EXAMPLES = Path(__file__).parents[2] / "host" / "examples"
GALLERY = sorted(path.parent.name for path in EXAMPLES.glob("*/recipe.toml"))
FILES = ("data.py", "model.py", "recipe.toml", "train.py")
_SECONDS = 500


def run(*arguments: str, folder: Path) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def load_data(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{folder.name}", folder / "data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ask(package: UnpackedPackage, sample: np.ndarray) -> InferenceReply:
    """Send one sample to the best variant through the agent's request handler."""
    manifest, variant = package.manifest, package.manifest.variants[0]
    handler = RequestHandler(
        model_name=manifest.name,
        model_version=manifest.version,
        manifest=manifest,
        session=load_engine(variant.engine).load(package.folder / variant.path, threads=1),
        answerer=None if manifest.postprocessing is None else Answerer(manifest.postprocessing),
    )
    sent = encode_request(InferenceRequest(inputs={manifest.inputs[0].name: sample}, binary_output=True), binary=True)
    answer = handler.handle(
        memoryview(sent.payload), content_type=sent.content_type, header_length=sent.header_length
    ).encoded
    return decode_reply(
        memoryview(answer.payload), content_type=answer.content_type, header_length=answer.header_length
    )


@pytest.mark.parametrize("name", GALLERY)
def test_an_example_is_the_same_four_files(name: str) -> None:
    folder = EXAMPLES / name
    assert {file for file in FILES if (folder / file).is_file()} == set(FILES)
    for file in ("data.py", "model.py", "train.py"):
        assert ast.get_docstring(ast.parse((folder / file).read_text(encoding="utf-8")))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", GALLERY)
def test_an_example_is_trained_compiled_packed_and_answers(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    made = shutil.ignore_patterns("__pycache__", "build", "*.pt", "*.drupe", "threshold.txt")
    shutil.copytree(EXAMPLES / name, folder, ignore=made)
    run("train.py", folder=folder)
    result = json.loads(run("-m", "drupelet_host", "compile", "recipe.toml", "--json", "--quiet", folder=folder))
    recipe = load_recipe(folder / "recipe.toml")
    (path,) = recipe.output.folder.glob("*.drupe")
    package = unpack_package(path, tmp_path / "unpacked", trusted_keys=None)
    limit = recipe.constraints.max_size
    assert limit is None or all(variant.size_bytes <= limit for variant in package.manifest.variants)
    validation = load_data(folder).validation()
    inputs, labels = validation if isinstance(validation, tuple) else (validation, None)
    replies = [ask(package, inputs[row : row + 1]).outputs for row in range(40)]
    names = {"score", "is_anomaly", "threshold"} if name == "anomaly" else {o.name for o in package.manifest.outputs}
    assert all(set(reply) == names for reply in replies)
    if recipe.model.task == "classification":
        (output,) = package.manifest.outputs
        right = [reply[output.name].argmax() == label for reply, label in zip(replies, labels, strict=False)]
        assert np.mean(right) > 0.9
    if name == "digits":
        original, best = result["models"]["original"], result["models"][result["ranking"][0]]
        assert original["metric"] > 0.97
        assert best["metric"] >= original["metric"] - 0.01
        assert best["size_bytes"] * 4 <= original["size_bytes"]
        assert best["p50_ms"] * 2 <= original["p50_ms"]
    if name == "anomaly":
        right = [bool(reply["is_anomaly"].item()) == bool(label) for reply, label in zip(replies, labels, strict=False)]
        assert np.mean(right) > 0.9
