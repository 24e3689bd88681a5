from __future__ import annotations

import subprocess
import sys

import pytest

import drupelet_host


def test_the_public_names_are_exactly_these() -> None:
    assert sorted(drupelet_host.__all__) == [
        "EdgeConverter",
        "Runtime",
        "StructuredPruner",
        "analyze_sensitivity",
        "compile_recipe",
        "load_recipe",
        "progressive_pruning",
    ]


@pytest.mark.parametrize("name", drupelet_host.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert callable(getattr(drupelet_host, name))
    assert name in dir(drupelet_host)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'prune_everything'"):
        drupelet_host.prune_everything  # noqa: B018 - the access is what is tested


def test_the_help_of_compile_loads_no_framework() -> None:
    code = (
        "import sys, contextlib\n"
        "from drupelet_host.cli import cli\n"
        "with contextlib.suppress(SystemExit): cli(['compile', '--help'])\n"
        "print({'torch', 'numpy', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "Example: drupelet compile" in done.stdout
    assert done.stdout.splitlines()[-1] == "set()"
