"""How many times fewer instructions a layer takes in static int8 than in float, on the emulated Cortex-A72.

Each kind of layer is counted in a short and in a long chain of itself, in both precisions; the difference between the
chains is the layers alone, without what quantizes the first input and the last output. JSON on standard output; the
gains are those of `drupelet_host.target`. Needs what `deploy/emulator/prepare` makes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.instructions.counting import count
from benchmarks.instructions.emulator import FOLDER, EmulatedPi
from drupelet_host.conversion.export import export_onnx
from drupelet_host.quantization.static import quantize_static
from drupelet_host.recipe import INPUT_NAME

_SHORT, _LONG = 2, 6
_CALIBRATION = 4


@dataclass(frozen=True, slots=True)
class _Case:
    shape: tuple[int, ...]
    make: Callable[[], nn.Module]


_PLANE = 28


def _conv(channels: int, *, kernel: int, groups: int = 1) -> _Case:
    def make() -> nn.Module:
        return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups)

    return _Case((1, channels, _PLANE, _PLANE), make)


_CASES: Mapping[str, _Case] = {
    "convolution": _conv(32, kernel=3),
    "narrow convolution": _conv(16, kernel=3),
    "grouped": _conv(32, kernel=3, groups=4),
    "pointwise": _conv(96, kernel=1),
    "narrow pointwise": _conv(16, kernel=1),
    "depthwise": _conv(96, kernel=3, groups=96),
    "vector": _Case((1, 256), lambda: nn.Linear(256, 256)),
    "matrix": _Case((1, 64, 128), lambda: nn.Linear(128, 128)),
}


def main() -> None:
    """Count every kind."""
    parser = argparse.ArgumentParser(prog="layer_gains", description=__doc__)
    parser.add_argument("--emulator", type=Path, default=FOLDER, metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("kinds", nargs="*", choices=[[], *_CASES], metavar="KIND", help="default: all")
    arguments = parser.parse_args()
    pi = EmulatedPi(folder=arguments.emulator.resolve())
    rows = {kind: _measure(_CASES[kind], pi=pi) for kind in arguments.kinds or _CASES}
    print(json.dumps({"onnxruntime": metadata.version("onnxruntime"), "layers": rows}, indent=2))


def _measure(case: _Case, *, pi: EmulatedPi) -> dict[str, float]:
    short, long = (_count_chain(case, length, pi=pi) for length in (_SHORT, _LONG))
    floats, ints = ((later - earlier) / (_LONG - _SHORT) for earlier, later in zip(short, long, strict=True))
    return {"float": floats, "int8": ints, "gain": round(floats / ints, 2)}


def _count_chain(case: _Case, length: int, *, pi: EmulatedPi) -> tuple[int, int]:
    torch.manual_seed(0)
    chain = nn.Sequential(*(nn.Sequential(case.make(), nn.ReLU()) for _ in range(length))).eval()
    random = np.random.default_rng(0)
    feeds = [{INPUT_NAME: random.standard_normal(case.shape, dtype=np.float32)} for _ in range(_CALIBRATION)]
    with tempfile.TemporaryDirectory() as folder:
        floats, ints = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        export_onnx(chain, case.shape, floats)
        quantize_static(floats, ints, calibration=feeds)
        return tuple(count(path, "onnxruntime", pi=pi).instructions for path in (floats, ints))  # type: ignore[return-value]


if __name__ == "__main__":
    main()
