"""What the rows of `bench-compiler` take on a Raspberry Pi 4, by the timing model, each in its best engine of three.

A time depends on the shapes of a network and not on its weights. The rows' channels are in `results/compiler.json`,
with the accuracy of their trained files; networks of these shapes with seeded weights are written for each engine and
run in the timing model. The files that were trained are not needed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch_pruning
from torch import nn

from benchmarks.child import BenchmarkError
from benchmarks.compiler.network import build
from benchmarks.compiler.setting import INPUT_SHAPE, OUTPUT_NAME, SEED
from benchmarks.engines.environments import run_module
from benchmarks.instructions.emulator import FOLDER, ROOT
from benchmarks.target.noise import noise
from benchmarks.target.timed_files import time_file
from drupelet_host.export.ncnn import export_ncnn
from drupelet_host.export.onnx import export_onnx
from drupelet_host.latency.modelled.layers import ENGINES, EngineName, Precision
from drupelet_host.latency.modelled.module_layers import read_module_layers
from drupelet_host.latency.modelled.table import LatencyTable
from drupelet_host.pruning.rewriting.padding_trim import trim_padding
from drupelet_host.pruning.structure.groups import find_groups, remove_channels
from drupelet_host.quantization.ncnn.bias import correct_biases
from drupelet_host.quantization.ncnn.static import NcnnInt8Settings, calibrate_ncnn, write_ncnn_int8
from drupelet_host.quantization.static import quantize_static

RESULTS = ROOT / "tests/benchmarks/results/compiler.json"
_LITERT_PYTHON = ROOT / ".venv/litert/bin/python"
# As `bench-compiler` asks it of Torch-Pruning.
_RATIO, _CHANNEL_MULTIPLE = 0.5, 8
_BEST_PEER, _FLOAT, _PRODUCT, _PRODUCT_AT_BEST = "c", "a", "f", "g"
# What each row's accuracy is known in: of float weights, of static int8, or of both.
PRECISIONS: Mapping[str, Sequence[Precision]] = {
    "a": ("float32",),
    "c": ("int8",),
    "e": ("int8",),
    "f": ("float32", "int8"),
    "g": ("float32",),
}
_FILES: Mapping[tuple[EngineName, Precision], str] = {
    ("onnxruntime", "float32"): "float32.onnx",
    ("onnxruntime", "int8"): "int8.onnx",
    ("litert", "float32"): "float32.tflite",
    ("litert", "int8"): "int8.tflite",
    ("ncnn", "float32"): "float32.param",
    ("ncnn", "int8"): "int8.param",
}


@dataclass(frozen=True, slots=True)
class RecordedTime:
    """A row in one engine and precision.

    Attributes:
        row: Its letter in `bench-compiler`.
        engine: What runs it.
        precision: Of its file.
        ms: By the timing model, scaled.
        error: How far it may be off, as a fraction.
        table_ms: By the latency table.
        top1: Of the trained file of this precision on the test samples: in this engine or another, see `top1_engine`.
        top1_engine: Where the accuracy was measured.
        macs: Of the network.
    """

    row: str
    engine: EngineName
    precision: Precision
    ms: float
    error: float
    table_ms: float
    top1: float
    top1_engine: str
    macs: int


def model_recorded_rows(table: LatencyTable, work: Path, *, emulator: Path = FOLDER) -> dict[str, object]:
    """Return every row's time in every engine, and how rows compare in their best ones.

    Args:
        table: The target's table.
        work: Where files and finished rows are kept.
        emulator: What `deploy/emulator/prepare` made.
    """
    recorded = json.loads(RESULTS.read_text(encoding="utf-8"))
    times = [time for row in PRECISIONS for time in _model_row(row, recorded, table, work, emulator=emulator)]
    return {
        "what": "modelled: networks of the recorded shapes with seeded weights in the timing model of the Cortex-A72",
        "accuracy": "of the trained files, as results/compiler.json has it",
        "times": [asdict(time) for time in times],
        "comparisons": compare(times),
    }


def compare(times: Sequence[RecordedTime]) -> dict[str, object]:
    """Return how much faster the product's rows are, each row in its fastest engine and precision.

    Args:
        times: Of all rows.
    """
    best = {row: min((time for time in times if time.row == row), key=lambda time: time.ms) for row in PRECISIONS}
    original = next(time for time in times if (time.row, time.engine) == (_FLOAT, "onnxruntime"))
    peer, product, equal = best[_BEST_PEER], best[_PRODUCT], best[_PRODUCT_AT_BEST]
    return {
        "best": {row: f"{time.engine} {time.precision}, {time.ms:.3f} ms" for row, time in best.items()},
        "times_faster_than_best_unpruned_peer": round(peer.ms / product.ms, 2),
        "times_faster_than_float_in_onnxruntime": round(original.ms / product.ms, 2),
        "times_faster_at_best_peers_accuracy": round(peer.ms / equal.ms, 2),
        "top1": {"original": original.top1, "peer": peer.top1, "product": product.top1, "at_best_peers": equal.top1},
    }


def _model_row(
    row: str, recorded: Mapping[str, Any], table: LatencyTable, work: Path, *, emulator: Path
) -> Iterator[RecordedTime]:
    folder = work / "recorded" / row
    folder.mkdir(parents=True, exist_ok=True)
    model = make_network(row, recorded)
    shapes = read_module_layers(model, torch.zeros(INPUT_SHAPE))
    for precision in PRECISIONS[row]:
        for engine in ENGINES:
            path = folder / _FILES[engine, precision]
            _write(model, path, is_peer=row not in (_PRODUCT, _PRODUCT_AT_BEST))
            top1, where = _top1(row, recorded, engine=engine, precision=precision)
            yield RecordedTime(
                row=row,
                engine=engine,
                precision=precision,
                ms=round(table.scale * time_file(path, engine, emulator=emulator), 4),
                error=table.accuracies[engine, precision].model_error,
                table_ms=round(table.network_ms(shapes, engine, precision), 4),
                top1=top1,
                top1_engine=where,
                macs=sum(shape.macs for shape in shapes),
            )


def make_network(row: str, recorded: Mapping[str, Any]) -> nn.Module:
    """Return a network of a row's shapes with seeded weights.

    Args:
        row: Its letter.
        recorded: What `bench-compiler` printed.
    """
    torch.manual_seed(SEED)
    model, example = build().eval(), torch.zeros(INPUT_SHAPE)
    if row == "e":
        importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
        torch_pruning.pruner.MagnitudePruner(
            model,
            example,
            importance=importance,
            pruning_ratio=_RATIO,
            ignored_layers=[model.get_submodule("fc")],
            round_to=_CHANNEL_MULTIPLE,
        ).step()
    if row in (_PRODUCT, _PRODUCT_AT_BEST):
        notes = next(one["notes"] for one in recorded["rows"] if one["name"] == row)
        owners = {member: group.name for group in find_groups(model, example) for member in group.members}
        removed = {owners[name]: before - left for name, (before, left) in notes["channels"].items()}
        trim_padding(model, example)
        remove_channels(model, example, removed, importance="l2")
        _check(model, notes["candidates"])
    return model


def _check(model: nn.Module, candidates: Sequence[Mapping[str, Any]]) -> None:
    """Compare with the last candidate that was kept."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    expected = min(candidate["parameters"] for candidate in candidates if candidate["kept"])
    if parameters != expected:
        raise BenchmarkError(f"the network has {parameters} parameters, the recorded one {expected}")


def _top1(row: str, recorded: Mapping[str, Any], *, engine: EngineName, precision: Precision) -> tuple[float, str]:
    """Return the accuracy that was measured in this precision, in this engine where it was."""
    known = {
        one["engine"]: one["top1"]
        for one in recorded["measured"]
        if one["row"] == row and (("static" in one["variant"] or row in {"c", "e"}) == (precision == "int8"))
    }
    where = engine if engine in known else "onnxruntime"
    return known[where], where


def _write(model: nn.Module, path: Path, *, is_peer: bool) -> None:
    if path.is_file():
        return
    print(f"{path.parent.name}: {path.name}", file=sys.stderr, flush=True)
    writers: Mapping[str, Callable[[nn.Module, Path], None]] = {
        ".onnx": _write_onnx,
        ".tflite": partial(_write_litert, is_peer=is_peer),
        ".param": _write_ncnn,
    }
    writers[path.suffix](model, path)


def _write_onnx(model: nn.Module, path: Path) -> None:
    source = path.with_name("float32.onnx")
    if not source.is_file():
        export_onnx(model, INPUT_SHAPE, source, output_names=(OUTPUT_NAME,))
    if path != source:
        quantize_static(source, path, calibration=noise())


def _write_litert(model: nn.Module, path: Path, *, is_peer: bool) -> None:
    """Write both files; a peer's as LiteRT's own tools do."""
    module = path.with_name("module.pt")
    torch.save(model, module)
    run_module(_LITERT_PYTHON, "benchmarks.target.write_litert", module, path.parent, *(["peer"] if is_peer else []))


def _write_ncnn(model: nn.Module, path: Path) -> None:
    source = path.with_name("float32.param")
    if not source.is_file():
        export_ncnn(model, INPUT_SHAPE, source, output_names=(OUTPUT_NAME,))
    if path != source:
        calibrated = calibrate_ncnn(source, samples=noise())
        write_ncnn_int8(calibrated, path, settings=correct_biases(calibrated, NcnnInt8Settings("minmax")))
