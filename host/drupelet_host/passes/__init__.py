"""The passes of a compile, by name, loaded when used."""

from __future__ import annotations

import importlib

from drupelet_host.pipeline import Pass
from drupelet_host.recipe import Recipe

# In the order in which a compile runs them.
PASSES = {
    "evaluate": "drupelet_host.passes.evaluate:EvaluatePass",
    "importance": "drupelet_host.passes.importance:ImportancePass",
    "sensitivity": "drupelet_host.passes.sensitivity:SensitivityPass",
    "prune": "drupelet_host.passes.prune:PrunePass",
    "export_onnx": "drupelet_host.passes.export_onnx:ExportOnnxPass",
    "quantize_static": "drupelet_host.passes.quantize_static:QuantizeStaticPass",
    "export_litert": "drupelet_host.passes.export_litert:ExportLitertPass",
    "quantize_litert": "drupelet_host.passes.quantize_litert:QuantizeLitertPass",
    "evaluate_variants": "drupelet_host.passes.evaluate_variants:EvaluateVariantsPass",
    "constraints": "drupelet_host.passes.constraints:ConstraintsPass",
    "package": "drupelet_host.passes.package:PackagePass",
}


# Those that make variants for one engine; the others are in every compile.
_ENGINES = {
    "export_onnx": "onnxruntime",
    "quantize_static": "onnxruntime",
    "export_litert": "litert",
    "quantize_litert": "litert",
}


def passes_of(recipe: Recipe) -> tuple[str, ...]:
    """The names of the passes that a recipe asks for, in order."""
    return tuple(name for name in PASSES if name not in _ENGINES or _ENGINES[name] in recipe.export.engines)


def make_pass(name: str, recipe: Recipe) -> Pass:
    """Import a pass and set it up from the recipe."""
    module, _, attribute = PASSES[name].partition(":")
    made: Pass = getattr(importlib.import_module(module), attribute).from_recipe(recipe)
    return made
