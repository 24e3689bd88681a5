"""drupelet's public Python names, loaded when they are used.

The compiler's workflow:

    import drupelet

    curves = drupelet.analyze_sensitivity(model, example_input, evaluate)
    pruner = drupelet.StructuredPruner(prune_ratio=0.5, iterations=4)
    pruned = drupelet.progressive_pruning(model, train_data, evaluate, pruner=pruner, sensitivity=curves)
    edge_model = drupelet.EdgeConverter().from_pytorch(pruned.model, (1, 3, 224, 224)).optimize_for_edge(calibration)
    edge_model.save("model.onnx")
    device = {"device_type": "raspberry_pi_4", "memory_limit": "512MB", "cpu_cores": 4}
    with drupelet.Runtime(device).load_model("model.onnx") as net:
        scores = net(image)

A whole compile from a recipe is `drupelet.compile_recipe(drupelet.load_recipe("recipe.toml"))`. Inference on a device
over MQTT is `drupelet.DeviceClient`, on a pool `drupelet.PoolClient`; commands are sent with `drupelet.ControlClient`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from drupelet_shared import __version__ as __version__

if TYPE_CHECKING:
    from drupelet import errors as errors
    from drupelet_host.client.connection.address import BrokerAddress as BrokerAddress
    from drupelet_host.client.control.control import ControlClient as ControlClient
    from drupelet_host.client.inference.device import DeviceClient as DeviceClient
    from drupelet_host.client.inference.pool import PoolClient as PoolClient
    from drupelet_host.compiler.compile import compile_recipe as compile_recipe
    from drupelet_host.export.converter import EdgeConverter as EdgeConverter
    from drupelet_host.local_runtime.runtime import Runtime as Runtime
    from drupelet_host.pruning.ratio.progressive import StructuredPruner as StructuredPruner
    from drupelet_host.pruning.ratio.progressive import progressive_pruning as progressive_pruning
    from drupelet_host.pruning.sensitivity import analyze_sensitivity as analyze_sensitivity
    from drupelet_host.recipe.schema import load_recipe as load_recipe

_MODULES = {
    "BrokerAddress": "drupelet_host.client.connection.address",
    "ControlClient": "drupelet_host.client.control.control",
    "DeviceClient": "drupelet_host.client.inference.device",
    "EdgeConverter": "drupelet_host.export.converter",
    "PoolClient": "drupelet_host.client.inference.pool",
    "Runtime": "drupelet_host.local_runtime.runtime",
    "StructuredPruner": "drupelet_host.pruning.ratio.progressive",
    "analyze_sensitivity": "drupelet_host.pruning.sensitivity",
    "compile_recipe": "drupelet_host.compiler.compile",
    "load_recipe": "drupelet_host.recipe.schema",
    "progressive_pruning": "drupelet_host.pruning.ratio.progressive",
}
# What the names above need beyond the base installation; the extra `host` installs all of it.
_EXTRA = "host"

__all__ = [
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


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name == "errors":
        return importlib.import_module("drupelet.errors")
    if name not in _MODULES:
        raise AttributeError(f"module 'drupelet' has no attribute {name!r}; public names: {', '.join(__all__)}")
    try:
        return getattr(importlib.import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0].startswith("drupelet"):
            raise
        message = f"drupelet.{name} needs {error.name}, which is not installed: pip install 'drupelet[{_EXTRA}]'"
        raise ModuleNotFoundError(message, name=error.name) from error


def __dir__() -> list[str]:
    return list(__all__)
