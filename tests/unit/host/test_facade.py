from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import drupelet
import drupelet_host.errors
import drupelet_shared.errors
from drupelet.errors import DrupeletError
from drupelet_host.export.converter import EdgeModel
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_shared.inference import InferenceReply
from support.model.tiny_project import INPUT_SHAPE, start_state, trained


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_the_public_names_are_exactly_these() -> None:
    assert dir(drupelet) == [
        "BrokerAddress",
        "ControlClient",
        "DeviceClient",
        "EdgeConverter",
        "PoolClient",
        "Runtime",
        "StructuredPruner",
        "__version__",
        "analyze_sensitivity",
        "compile_recipe",
        "errors",
        "load_recipe",
        "progressive_pruning",
    ]
    assert drupelet.__all__ == dir(drupelet)


@pytest.mark.parametrize("name", sorted(set(drupelet.__all__) - {"errors", "__version__"}))
def test_every_public_name_loads(name: str) -> None:
    assert callable(getattr(drupelet, name))


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'prune_everything'"):
        drupelet.prune_everything  # noqa: B018 - the access is what is tested


def test_the_errors_are_those_of_host_and_shared() -> None:
    raised = {
        name
        for module in (drupelet_host.errors, drupelet_shared.errors)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, DrupeletError)
    }
    assert set(drupelet.errors.__all__) == raised


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, drupelet; print(sorted({'torch', 'numpy', 'onnx', 'pydantic', 'paho'} & set(sys.modules)))"
    assert run_python(code) == "[]\n"


def test_a_missing_extra_is_named() -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "import drupelet\n"
        "try: drupelet.progressive_pruning\n"
        "except ImportError as error: print(error)"
    )
    assert run_python(code) == (
        "drupelet.progressive_pruning needs torch, which is not installed: pip install 'drupelet[host]'\n"
    )


def test_the_repr_of_a_model_fits_on_a_line() -> None:
    model = EdgeModel(content=b"\0" * 10_000, precision="fp32", input_shape=(1, 3, 224, 224))
    assert repr(model) == "EdgeModel(precision='fp32', input_shape=(1, 3, 224, 224))"


def test_the_repr_of_a_result_is_a_line_without_weights_samples_or_passwords(tmp_path: Path) -> None:
    tiny = trained()
    curves = drupelet.analyze_sensitivity(tiny.model, torch.zeros(INPUT_SHAPE), tiny.evaluate, ratios=(0.5,))
    pruner = drupelet.StructuredPruner(prune_ratio=0.5, iterations=1)
    pruned = drupelet.progressive_pruning(
        tiny.model, tiny.train, tiny.evaluate, pruner=pruner, sensitivity=curves, recovery=RecoveryConfig(epochs=0)
    )
    scores = np.zeros((1, 1000), np.float32)
    results = [
        drupelet.BrokerAddress("broker.local", username="anna", password="secret"),
        drupelet.Runtime({"memory_limit": "512MB", "cpu_cores": 2}),
        InferenceReply(model_name="digits", outputs={"scores": scores}),
        curves["conv1"],
        pruner,
        pruned,
        start_state(tmp_path, tiny.model, train=tiny.train, validation=tiny.validation),
        tiny.train,
    ]

    lines = [repr(result) for result in results]

    assert [line for line in lines if "\n" in line or len(line) > 400 or "secret" in line] == []
    assert lines[2] == "InferenceReply(digits without version: scores float32 [1, 1000])"
    assert lines[-1] == "Dataset(384 samples of shape (1, 8, 8), labels)"


def test_the_help_of_compile_loads_no_framework() -> None:
    code = (
        "import sys, contextlib\n"
        "from drupelet_host.cli import cli\n"
        "with contextlib.suppress(SystemExit): cli(['compile', '--help'])\n"
        "print({'torch', 'numpy', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    printed = run_python(code)
    assert "drupelet compile recipe.toml" in printed
    assert printed.splitlines()[-1] == "set()"
