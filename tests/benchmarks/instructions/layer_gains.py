"""How many times fewer instructions a layer takes in static int8 than in float, on the emulated Cortex-A72.

Each kind of layer is counted in a short and in a long chain of itself, in both precisions; the difference between the
chains is the layers alone. What going from int8 to float and back costs for each value is counted with two layers of an
int8 chain in float, and is part of what float costs. JSON on standard output; the gains are those of
`drupelet_host.recipe.target`. Needs what `deploy/emulator/prepare` makes.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.instructions.counting import count
from benchmarks.instructions.emulator import FOLDER, EmulatedPi
from drupelet_host.export.onnx import export_onnx
from drupelet_host.quantization.static import StaticSettings, calibrate, write_static
from drupelet_host.recipe.model import INPUT_NAME
from drupelet_host.recipe.target import LayerKind

_SHORT, _LONG = 2, 6
_CALIBRATION = 4


@dataclass(frozen=True, slots=True)
class _Case:
    shape: tuple[int, ...]
    make: Callable[[], nn.Module]


_PLANE, _ROWS, _GROUPS = 28, 64, 4
_WIDTHS: Mapping[LayerKind, tuple[int, ...]] = {
    "convolution": (16, 32),
    "grouped": (32,),
    "pointwise": (16, 32, 48, 96, 192),
    "depthwise": (32, 96),
    "vector": (256, 1024),
    "matrix": (128,),
}


def _case(kind: LayerKind, width: int) -> _Case:
    if kind in {"vector", "matrix"}:
        shape = (1, width) if kind == "vector" else (1, _ROWS, width)
        return _Case(shape, lambda: nn.Linear(width, width))
    kernel = 1 if kind == "pointwise" else 3
    groups = {"depthwise": width, "grouped": _GROUPS}.get(kind, 1)
    return _Case(
        (1, width, _PLANE, _PLANE),
        lambda: nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=groups),
    )


def main() -> None:
    """Count every kind at every width."""
    parser = argparse.ArgumentParser(prog="layer_gains", description=__doc__)
    parser.add_argument("--emulator", type=Path, default=FOLDER, metavar="FOLDER", help="default: %(default)s")
    arguments = parser.parse_args()
    pi = EmulatedPi(folder=arguments.emulator.resolve())
    trip = _count_round_trip(pi=pi)
    rows = [_measure(kind, width, trip=trip, pi=pi) for kind, widths in _WIDTHS.items() for width in widths]
    print(json.dumps({"onnxruntime": metadata.version("onnxruntime"), "round_trip": trip, "layers": rows}, indent=2))


def _measure(kind: LayerKind, width: int, *, trip: float, pi: EmulatedPi) -> dict[str, object]:
    case = _case(kind, width)
    floats, ints = _count_layer(case, pi=pi)
    gain = (floats + trip * math.prod(case.shape)) / ints
    return {"kind": kind, "width": width, "float": floats, "int8": ints, "gain": round(gain, 2)}


def _count_round_trip(*, pi: EmulatedPi) -> float:
    """Instructions for each value that goes from int8 to float and back."""
    case = _case("pointwise", 96)
    floats, ints = _count_layer(case, pi=pi)
    _, whole = _count_chain(case, _LONG, pi=pi)
    _, mixed = _count_chain(case, _LONG, pi=pi, in_float=(1, 2))
    return round((mixed - whole - 2 * (floats - ints)) / math.prod(case.shape), 2)


def _count_layer(case: _Case, *, pi: EmulatedPi) -> tuple[float, float]:
    short, long = (_count_chain(case, length, pi=pi) for length in (_SHORT, _LONG))
    floats, ints = ((later - earlier) / (_LONG - _SHORT) for earlier, later in zip(short, long, strict=True))
    return floats, ints


def _count_chain(case: _Case, length: int, *, pi: EmulatedPi, in_float: Sequence[int] = ()) -> tuple[int, int]:
    torch.manual_seed(0)
    chain = nn.Sequential(*(nn.Sequential(case.make(), nn.ReLU()) for _ in range(length))).eval()
    random = np.random.default_rng(0)
    feeds = [{INPUT_NAME: random.standard_normal(case.shape, dtype=np.float32)} for _ in range(_CALIBRATION)]
    with tempfile.TemporaryDirectory() as folder:
        floats, ints = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        export_onnx(chain, case.shape, floats)
        calibrated = calibrate(floats, calibration=feeds)
        keep = frozenset(calibrated.layers[position].name for position in in_float)
        write_static(calibrated, ints, settings=StaticSettings(keep_float=keep))
        counted = [count(path, "onnxruntime", pi=pi).instructions for path in (floats, ints)]
    return counted[0], counted[1]


if __name__ == "__main__":
    main()
