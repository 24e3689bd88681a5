"""The passes of a compile by name; a pass is imported when it is used."""

from __future__ import annotations

from drupelet_host.compiler.pass_protocol import Pass
from drupelet_host.recipe.model import TFLITE_SUFFIX
from drupelet_host.recipe.schema import Recipe
from drupelet_shared.contract.references import load_reference

# In the order in which a compile runs them. Passes that read less of the recipe come first, so that after a change of
# the recipe more cached results can be used.
PASSES = {
    "evaluate": "drupelet_host.compiler.passes.evaluate:EvaluatePass",
    "importance": "drupelet_host.compiler.passes.importance:ImportancePass",
    "sensitivity": "drupelet_host.compiler.passes.sensitivity:SensitivityPass",
    "prune": "drupelet_host.compiler.passes.prune:PrunePass",
    "sparsify": "drupelet_host.compiler.passes.sparsify:SparsifyPass",
    "quantize_aware": "drupelet_host.compiler.passes.quantize_aware:QuantizeAwarePass",
    "export_onnx": "drupelet_host.compiler.passes.export_onnx:ExportOnnxPass",
    "optimise_onnx": "drupelet_host.compiler.passes.optimise_onnx:OptimiseOnnxPass",
    "adopt_tflite": "drupelet_host.compiler.passes.adopt_tflite:AdoptTflitePass",
    "export_litert": "drupelet_host.compiler.passes.export_litert:ExportLitertPass",
    "quantize_litert": "drupelet_host.compiler.passes.quantize_litert:QuantizeLitertPass",
    "export_ncnn": "drupelet_host.compiler.passes.export_ncnn:ExportNcnnPass",
    "quantize_ncnn": "drupelet_host.compiler.passes.quantize_ncnn:QuantizeNcnnPass",
    "store_float16": "drupelet_host.compiler.passes.store_float16:StoreFloat16Pass",
    "quantize_dynamic": "drupelet_host.compiler.passes.quantize_dynamic:QuantizeDynamicPass",
    "quantize_static": "drupelet_host.compiler.passes.quantize_static:QuantizeStaticPass",
    "mix_precision": "drupelet_host.compiler.passes.mix_precision:MixPrecisionPass",
    "evaluate_variants": "drupelet_host.compiler.passes.evaluate_variants:EvaluateVariantsPass",
    "constraints": "drupelet_host.compiler.passes.constraints:ConstraintsPass",
    "package": "drupelet_host.compiler.passes.package:PackagePass",
}

# These are quick, and their messages and files belong to each run.
UNCACHED = frozenset({"constraints", "package"})

# Passes only for modules, only for files, and so on; the others are in every compile.
_OF_MODULES = frozenset(
    {
        "importance",
        "sensitivity",
        "prune",
        "sparsify",
        "quantize_aware",
        "export_onnx",
        "export_litert",
        "quantize_litert",
    }
)
_OF_FILES = frozenset({"optimise_onnx"})
# A LiteRT file is packed unchanged.
_OF_TFLITE = ("evaluate", "adopt_tflite", "evaluate_variants", "constraints", "package")
_OF_LITERT = frozenset({"export_litert", "quantize_litert"})
_OF_NCNN = frozenset({"export_ncnn", "quantize_ncnn"})
_OF_VARIANTS = {
    "store_float16": "float16",
    "quantize_dynamic": "dynamic",
    "quantize_static": "static",
    "quantize_aware": "static",
    "mix_precision": "mixed",
}


def passes_of(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of the passes that a recipe needs, in order."""
    if recipe.model.file is not None and recipe.model.file.suffix == TFLITE_SUFFIX:
        return _OF_TFLITE
    unwanted = {"adopt_tflite", *(_OF_FILES if recipe.model.factory else _OF_MODULES)}
    if "litert" not in recipe.export.engines:
        unwanted |= _OF_LITERT
    if "ncnn" not in recipe.export.engines:
        unwanted |= _OF_NCNN
    if "onnxruntime" not in recipe.export.engines:
        unwanted |= {"export_onnx", *_OF_VARIANTS} - {"quantize_aware"}
    if recipe.prune.sparsity == 0:
        unwanted.add("sparsify")
    unwanted |= {name for name, variant in _OF_VARIANTS.items() if variant not in recipe.quantize.variants}
    return tuple(name for name in PASSES if name not in unwanted)


def make_pass(name: str, recipe: Recipe) -> Pass:
    """Import a pass and configure it from the recipe."""
    made: Pass = load_reference(PASSES[name]).from_recipe(recipe)
    return made
