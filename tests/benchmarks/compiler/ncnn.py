"""The same modules in ncnn, converted by pnnx and made int8 by the product; nothing is trained again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.compiler.network import load_module, load_original
from benchmarks.compiler.samples import pick_calibration, read_training
from benchmarks.compiler.setting import INPUT_NAME, INPUT_SHAPE, OUTPUT_NAME, SEED, Setting
from drupelet_host.data.dataset import Dataset
from drupelet_host.data.samples import split_dataset
from drupelet_host.evaluation.scoring import evaluate_session
from drupelet_host.export.ncnn import export_ncnn, require_ncnn
from drupelet_host.quantization.ncnn.choice import choose_ncnn_method
from drupelet_host.quantization.ncnn.float16 import store_ncnn_float16
from drupelet_host.quantization.ncnn.static import calibrate_ncnn, write_ncnn_int8
from drupelet_host.selection.variants import NCNN_FLOAT, NCNN_FLOAT16, NCNN_STATIC
from drupelet_shared.engines.files import WEIGHTS_SUFFIX
from drupelet_shared.engines.registry import load_engine

# The rows whose module is kept, and what is made of it; row (c) is the original in int8.
_VARIANTS = {
    "a": (NCNN_FLOAT,),
    "c": (NCNN_STATIC,),
    "e": (NCNN_STATIC,),
    "f": (NCNN_FLOAT16, NCNN_STATIC),
    "g": (NCNN_FLOAT16,),
}
_OF_THE_ORIGINAL = frozenset({"a", "c"})
_TRIAL_SAMPLES = 1000


def make_ncnn(row: str, setting: Setting) -> dict[str, Path]:
    """Return the row's ncnn files by variant; those that are there are taken as they are.

    Raises:
        ExportError: The converter is not installed or fails.
    """
    wanted = {variant: setting.work / f"{row}-{variant}.param" for variant in _VARIANTS.get(row, ())}
    if all(path.is_file() and path.with_suffix(WEIGHTS_SUFFIX).is_file() for path in wanted.values()):
        return wanted
    require_ncnn()
    model = load_original(setting) if row in _OF_THE_ORIGINAL else load_module(setting, row=row)
    exported = setting.work / f"{row}-{NCNN_FLOAT}.param"
    export_ncnn(model, INPUT_SHAPE, exported, output_names=(OUTPUT_NAME,))
    if NCNN_FLOAT16 in wanted:
        store_ncnn_float16(exported, wanted[NCNN_FLOAT16])
    if NCNN_STATIC in wanted:
        _quantize(exported, wanted[NCNN_STATIC], setting)
    return wanted


def _quantize(source: Path, path: Path, setting: Setting) -> None:
    """Choose the method on samples that train nothing, as a compile does."""
    training, selection = read_training(setting)
    calibration = pick_calibration(training).inputs
    feeds = [{INPUT_NAME: calibration[position : position + 1]} for position in range(len(calibration))]
    calibrated = calibrate_ncnn(source, samples=feeds)
    trial = selection.subset(_TRIAL_SAMPLES, seed=SEED)
    choice = choose_ncnn_method(calibrated, judge=partial(_score, trial=trial))
    write_ncnn_int8(calibrated, path, settings=choice.settings)


def _score(path: Path, *, trial: Dataset) -> float:
    return evaluate_session(load_engine("ncnn").load(path, threads=1), split_dataset(trial, input_name=INPUT_NAME))
