"""The variants that a compile can make: their ids, engines and precisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from drupelet_shared.package.manifest import EngineName

# In names, "w" is weights, "a" activations, "i8" int8 and "f16" float16.
FLOAT, FLOAT16 = "ort-fp32", "ort-wf16"
STATIC, DYNAMIC, MIXED = "ort-static-wi8-ai8", "ort-dynamic-wi8", "ort-mixed-wi8-ai8"
LITERT_FLOAT, LITERT_STATIC = "litert-fp32", "litert-static-wi8-ai8"
LITERT_FLOAT16, LITERT_DYNAMIC = "litert-wf16", "litert-dynamic-wi8"
NCNN_FLOAT, NCNN_FLOAT16 = "ncnn-fp32", "ncnn-wf16"
NCNN_STATIC, NCNN_MIXED = "ncnn-static-wi8-ai8", "ncnn-mixed-wi8-ai8"

# What a search judges in each engine, the one it hopes for first.
JUDGED: Mapping[EngineName, tuple[str, ...]] = {
    "onnxruntime": (STATIC, FLOAT),
    "litert": (LITERT_STATIC, LITERT_FLOAT),
    "ncnn": (NCNN_STATIC, NCNN_FLOAT),
}

# What `quantize.variants` calls them, whatever the engine.
IDS_BY_NAME: Mapping[str, frozenset[str]] = {
    "static": frozenset({STATIC, LITERT_STATIC, NCNN_STATIC}),
    "mixed": frozenset({MIXED, NCNN_MIXED}),
    "dynamic": frozenset({DYNAMIC, LITERT_DYNAMIC}),
    "float16": frozenset({FLOAT16, LITERT_FLOAT16, NCNN_FLOAT16}),
}

Arithmetic = Literal["float", "int8", "mixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantKind:
    """The engine, precision and arithmetic that the id of a variant stands for.

    Attributes:
        precision: The precision in the manifest.
        arithmetic: The kind of arithmetic that takes most of the time; times of one kind say little about the other on
            another processor.
        golden_tolerance: How far the device's answers may be from the host's, as a fraction of the largest value.
    """

    precision: str
    arithmetic: Arithmetic
    golden_tolerance: float


# Float kernels of two processors differ in the last bits. In int8 a value on the edge of a step may round either way,
# and a few such steps add up by the last layer.
_FLOAT_TOLERANCE, _INT8_TOLERANCE = 1e-3, 0.05

KINDS: Mapping[str, VariantKind] = {
    FLOAT: VariantKind(precision="fp32", arithmetic="float", golden_tolerance=_FLOAT_TOLERANCE),
    FLOAT16: VariantKind(precision="wf16", arithmetic="float", golden_tolerance=_FLOAT_TOLERANCE),
    STATIC: VariantKind(precision="static-wi8-ai8", arithmetic="int8", golden_tolerance=_INT8_TOLERANCE),
    DYNAMIC: VariantKind(precision="dynamic-wi8", arithmetic="int8", golden_tolerance=_INT8_TOLERANCE),
    MIXED: VariantKind(precision="mixed-wi8-ai8", arithmetic="mixed", golden_tolerance=_INT8_TOLERANCE),
    LITERT_FLOAT: VariantKind(precision="fp32", arithmetic="float", golden_tolerance=_FLOAT_TOLERANCE),
    LITERT_STATIC: VariantKind(precision="static-wi8-ai8", arithmetic="int8", golden_tolerance=_INT8_TOLERANCE),
    LITERT_FLOAT16: VariantKind(precision="wf16", arithmetic="float", golden_tolerance=_FLOAT_TOLERANCE),
    LITERT_DYNAMIC: VariantKind(precision="dynamic-wi8", arithmetic="int8", golden_tolerance=_INT8_TOLERANCE),
    NCNN_FLOAT: VariantKind(precision="fp32", arithmetic="float", golden_tolerance=_FLOAT_TOLERANCE),
    NCNN_FLOAT16: VariantKind(precision="wf16", arithmetic="float", golden_tolerance=_FLOAT_TOLERANCE),
    NCNN_STATIC: VariantKind(precision="static-wi8-ai8", arithmetic="int8", golden_tolerance=_INT8_TOLERANCE),
    NCNN_MIXED: VariantKind(precision="mixed-wi8-ai8", arithmetic="mixed", golden_tolerance=_INT8_TOLERANCE),
}
