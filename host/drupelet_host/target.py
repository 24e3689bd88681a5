"""The devices a model can be compiled for, and what the compiler needs to know of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from drupelet_shared.errors import InvalidValueError

LayerKind = Literal["convolution", "grouped", "pointwise", "depthwise", "vector", "matrix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDevice:
    """One kind of device.

    Attributes:
        name: What recipes and manifests call it.
        architecture: As `uname -m` says it there.
        cores: How many there are.
        channel_multiple: Layer widths its kernels like are multiples of this.
        int8_gains: How many times fewer instructions a kind of layer takes in static int8 than in float, in ONNX
            Runtime; kinds that were not counted are left out.
        engine_min_versions: By engine, the oldest version that packages for it may ask for.
    """

    name: str
    architecture: str
    cores: int
    channel_multiple: int
    int8_gains: Mapping[LayerKind, float]
    engine_min_versions: Mapping[str, str]


# Counted with ONNX Runtime 1.32 at one thread on QEMU's Cortex-A72, which is no measure of time: `python -m
# benchmarks.instructions.layer_gains` in tests/ has the layers and counts them again.
_CORTEX_A72_GAINS: Mapping[LayerKind, float] = {"depthwise": 2.84, "pointwise": 1.09, "vector": 0.68}

# A NEON register holds 4 floats and the GEMM kernels of both runtimes work on tiles of 8 output channels.
TARGETS = {
    "raspberry_pi_4": TargetDevice(
        name="raspberry_pi_4",
        architecture="aarch64",
        cores=4,
        channel_multiple=8,
        int8_gains=_CORTEX_A72_GAINS,
        engine_min_versions={"onnxruntime": "1.20", "litert": "2.0"},
    ),
}
DEFAULT_TARGET = "raspberry_pi_4"


def find_target(name: str) -> TargetDevice:
    """The device of that name.

    Raises:
        InvalidValueError: There is none.
    """
    if name not in TARGETS:
        raise InvalidValueError(f"device {name!r}: expected one of {', '.join(sorted(TARGETS))}")
    return TARGETS[name]
