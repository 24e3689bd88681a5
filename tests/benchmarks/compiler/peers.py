"""What others' tools make of the same network, as their documents tell to use them."""

from __future__ import annotations

import copy
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch_pruning
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn
from torch.nn.utils import prune

from benchmarks.compiler.network import keep_module, load_original
from benchmarks.compiler.rows import Made
from benchmarks.compiler.samples import pick_calibration, read_training
from benchmarks.compiler.setting import INPUT_NAME, INPUT_SHAPE, OUTPUT_NAME, SEED, Setting
from benchmarks.compiler.tuning import fine_tune
from drupelet_host.data.dataset import Dataset
from drupelet_host.data.samples import split_dataset
from drupelet_host.evaluation.scoring import evaluate_module, evaluate_session
from drupelet_host.export.onnx import export_onnx
from drupelet_host.latency.engines import engine_of
from drupelet_shared.engines.registry import load_engine

_RATIO = 0.5
_MAX_RATIO = 0.9
_STEPS = 4
_SENSITIVITY_SAMPLES = 512
_CHANNEL_MULTIPLE = 8
# What the only file of a peer is called.
VARIANT = "onnxruntime"


def original(setting: Setting) -> Made:
    """(a) Float32, as it came."""
    return _made(setting, setting.original)


def classic(setting: Setting) -> Made:
    """(b) Zeros where the weights are smallest, in steps, more in robust layers; then dynamic int8."""
    training, selection = read_training(setting)
    model = load_original(setting)
    ratios = _layer_ratios(model, selection.subset(_SENSITIVITY_SAMPLES, seed=SEED))
    passes = max(1, setting.passes // _STEPS)
    for step in range(1, _STEPS + 1):
        for name, ratio in ratios.items():
            _zero_smallest(model.get_submodule(name), ratio * step / _STEPS)
        fine_tune(model, training, selection, setting=setting, passes=passes, what=f"b: step {step}")
    for name in ratios:
        _fix_zeros(model.get_submodule(name))
    pruned, path = setting.work / "classic.onnx", setting.work / "classic-dynamic.onnx"
    export_onnx(model, INPUT_SHAPE, pruned, output_names=(OUTPUT_NAME,))
    prepared = setting.work / "classic-prepared.onnx"
    quant_pre_process(pruned, prepared)
    # The unsigned weights are what ONNX Runtime has a dynamic convolution for.
    quantize_dynamic(prepared, path, weight_type=QuantType.QUInt8)
    return _made(setting, path, passes=passes * _STEPS, ratios=ratios)


def static_int8(setting: Setting) -> Made:
    """(c) ONNX Runtime's static quantization alone; unsigned activations are faster on x86-64."""
    return _made(setting, _quantize_static(setting, setting.original, name="ort-static"))


def nncf(setting: Setting) -> Made:
    """(d) NNCF's post-training quantization of the ONNX file, in a process of its own."""
    path, samples = setting.work / "nncf.onnx", setting.work / "calibration.npz"
    training, _ = read_training(setting)
    np.savez(samples, inputs=pick_calibration(training).inputs)
    worker = Path(__file__).with_name("nncf_worker.py")
    command = [setting.nncf_python, worker, setting.original, samples, path, INPUT_NAME]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return _made(setting, path)


def torch_pruning_half(setting: Setting) -> Made:
    """(e) Torch-Pruning takes half of every layer's channels at once; fine-tuning, then (c)."""
    training, selection = read_training(setting)
    model = load_original(setting)
    pruner = torch_pruning.pruner.MagnitudePruner(
        model,
        torch.from_numpy(training.inputs[:1]),
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=_RATIO,
        ignored_layers=[model.get_submodule("fc")],
        round_to=_CHANNEL_MULTIPLE,
    )
    pruner.step()
    fine_tune(model, training, selection, setting=setting, passes=setting.passes, what="e")
    path = setting.work / "torch-pruning.onnx"
    keep_module(model, setting, row="e")
    export_onnx(model, INPUT_SHAPE, path, output_names=(OUTPUT_NAME,))
    return _made(setting, _quantize_static(setting, path, name="torch-pruning-static"), passes=setting.passes)


def score(path: Path, samples: Dataset) -> float:
    """Top-1 of a file in its engine, one sample at a time."""
    session = load_engine(engine_of(path)).load(path, threads=1)
    (spec,) = session.inputs
    return evaluate_session(session, split_dataset(samples, input_name=spec.name))


def _made(setting: Setting, path: Path, *, passes: int = 0, **notes: object) -> Made:
    _, selection = read_training(setting)
    return Made(models={VARIANT: path}, selection_metric=score(path, selection), passes=passes, notes=notes)


def _layer_ratios(model: nn.Module, samples: Dataset) -> dict[str, float]:
    """Around one half: more where the metric holds, less where it falls."""
    layers = [name for name, layer in model.named_modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    evaluate = partial(evaluate_module, dataset=samples)
    kept = {}
    for name in layers:
        trial = copy.deepcopy(model)
        _zero_smallest(trial.get_submodule(name), _RATIO)
        kept[name] = evaluate(trial)
    mean = sum(kept.values()) / len(kept)
    return {name: min(_MAX_RATIO, _RATIO * metric / mean) for name, metric in kept.items()}


def _zero_smallest(layer: nn.Module, ratio: float) -> None:
    """Let `ratio` of the layer's weights be zero, those of earlier steps among them."""
    if prune.is_pruned(layer):
        _fix_zeros(layer)
    prune.l1_unstructured(layer, "weight", ratio)  # type: ignore[no-untyped-call]  # torch leaves it untyped


def _fix_zeros(layer: nn.Module) -> None:
    prune.remove(layer, "weight")  # type: ignore[no-untyped-call]  # as above


def _quantize_static(setting: Setting, source: Path, *, name: str) -> Path:
    training, _ = read_training(setting)
    prepared, path = setting.work / f"{name}-prepared.onnx", setting.work / f"{name}.onnx"
    quant_pre_process(source, prepared)
    quantize_static(
        prepared,
        path,
        _Calibration(pick_calibration(training)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return path


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    def __init__(self, samples: Dataset) -> None:
        self._rest = iter([samples.inputs[row : row + 1] for row in range(len(samples))])

    def get_next(self) -> dict[str, np.ndarray] | None:
        sample = next(self._rest, None)
        return None if sample is None else {INPUT_NAME: sample}
