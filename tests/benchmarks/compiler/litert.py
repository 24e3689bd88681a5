"""The same modules in LiteRT, converted where its converter is installed; nothing is trained again."""

from __future__ import annotations

from pathlib import Path

from benchmarks.compiler.network import load_module, load_original
from benchmarks.compiler.samples import pick_calibration, read_training
from benchmarks.compiler.setting import INPUT_SHAPE, OUTPUT_NAME, Setting
from drupelet_host.data.samples import split_dataset
from drupelet_host.export.litert import export_litert, quantize_litert, require_litert
from drupelet_host.selection.variants import LITERT_FLOAT, LITERT_STATIC

# The rows whose module is kept, and what is made of it. Row (c) is the original in int8; the other peers' tools write
# ONNX files alone, and row (g) is float.
_VARIANTS = {
    "a": (LITERT_FLOAT,),
    "c": (LITERT_STATIC,),
    "e": (LITERT_STATIC,),
    "f": (LITERT_FLOAT, LITERT_STATIC),
    "g": (LITERT_FLOAT,),
}
_OF_THE_ORIGINAL = frozenset({"a", "c"})
# What LiteRT's own tools make of a module, without this project's rewriting.
_PEERS = frozenset({"a", "c", "e"})


def make_litert(row: str, setting: Setting) -> dict[str, Path]:
    """Return the row's LiteRT files by variant; those that are there are taken as they are.

    Raises:
        ExportError: The converter is not installed or fails.
    """
    wanted = {variant: setting.work / f"{row}-{variant}.tflite" for variant in _VARIANTS.get(row, ())}
    if all(path.is_file() for path in wanted.values()):
        return wanted
    require_litert()
    model = load_original(setting) if row in _OF_THE_ORIGINAL else load_module(setting, row=row)
    exported = setting.work / f"{row}-{LITERT_FLOAT}.tflite"
    for_xnnpack = row not in _PEERS
    export_litert(model, INPUT_SHAPE, exported, output_names=(OUTPUT_NAME,), for_xnnpack=for_xnnpack)
    if LITERT_STATIC in wanted:
        training, _ = read_training(setting)
        calibration = split_dataset(pick_calibration(training)).feeds
        quantize_litert(exported, wanted[LITERT_STATIC], calibration=calibration, for_xnnpack=for_xnnpack)
    return wanted
