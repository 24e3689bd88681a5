"""The compiler and the client: what runs on a workstation.

The workflow in Python, with names loaded when they are used:

    curves = analyze_sensitivity(model, example_input, evaluate)
    pruner = StructuredPruner(prune_ratio=0.5, iterations=4)
    pruned = progressive_pruning(model, train_data, evaluate, pruner=pruner, sensitivity=curves)
    edge_model = EdgeConverter().from_pytorch(pruned.model, (1, 3, 224, 224)).optimize_for_edge(calibration)
    edge_model.save("model.onnx")
    device = {"device_type": "raspberry_pi_4", "memory_limit": "512MB", "cpu_cores": 4}
    with Runtime(device).load_model("model.onnx") as net:
        scores = net(image)
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drupelet_host.compiler import compile_recipe
    from drupelet_host.converter import EdgeConverter
    from drupelet_host.pruning.progressive import StructuredPruner, progressive_pruning
    from drupelet_host.recipe import load_recipe
    from drupelet_host.runtime import Runtime
    from drupelet_host.sensitivity import analyze_sensitivity

# Its adapter says why; some of the compiler's modules import the runtime without the adapter.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

_EXPORTS = {
    "EdgeConverter": "drupelet_host.converter",
    "Runtime": "drupelet_host.runtime",
    "StructuredPruner": "drupelet_host.pruning.progressive",
    "analyze_sensitivity": "drupelet_host.sensitivity",
    "compile_recipe": "drupelet_host.compiler",
    "load_recipe": "drupelet_host.recipe",
    "progressive_pruning": "drupelet_host.pruning.progressive",
}

__all__ = [
    "EdgeConverter",
    "Runtime",
    "StructuredPruner",
    "analyze_sensitivity",
    "compile_recipe",
    "load_recipe",
    "progressive_pruning",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
