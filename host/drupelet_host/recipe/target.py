"""The devices that models can be compiled for, with the properties that the compiler uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from drupelet_shared.errors import InvalidValueError

LayerKind = Literal["convolution", "grouped", "pointwise", "depthwise", "vector", "matrix"]
Int8Gains = Mapping[LayerKind, tuple[tuple[int, float], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDevice:
    """One kind of device.

    Attributes:
        name: The name in recipes and manifests.
        architecture: The architecture as `uname -m` prints it on the device.
        cores: The number of cores.
        channel_multiple: The multiple of channels for which kernels are efficient; pruned widths are multiples of it.
        int8_gains: The factor by which static int8 reduces the instructions of a layer in ONNX Runtime, by kind of
            layer and number of input channels (ascending). It is counted between two int8 layers, conversions included.
        engine_min_versions: The oldest version of each engine that packages for the device may require.
    """

    name: str
    architecture: str
    cores: int
    channel_multiple: int
    int8_gains: Int8Gains
    engine_min_versions: Mapping[str, str]


# Instructions counted with ONNX Runtime 1.32 at one thread on QEMU's Cortex-A72, which does not measure time.
# `python -m benchmarks.instructions.layer_gains` in tests/ lists the layers and repeats the count.
_CORTEX_A72_GAINS: Int8Gains = {
    "convolution": ((16, 1.40), (32, 1.52)),
    "grouped": ((32, 0.73),),
    "pointwise": ((16, 1.03), (32, 1.18), (48, 1.22), (96, 1.28), (192, 1.32)),
    "depthwise": ((32, 2.62), (96, 3.65)),
    "vector": ((256, 0.71), (1024, 1.06)),
    "matrix": ((128, 1.09),),
}

# A NEON register holds 4 floats and the GEMM kernels of both runtimes work on tiles of 8 output channels.
TARGETS = {
    "raspberry_pi_4": TargetDevice(
        name="raspberry_pi_4",
        architecture="aarch64",
        cores=4,
        channel_multiple=8,
        int8_gains=_CORTEX_A72_GAINS,
        engine_min_versions={"onnxruntime": "1.20", "litert": "2.0", "ncnn": "1.0.20261020"},
    ),
}
DEFAULT_TARGET = "raspberry_pi_4"


def find_target(name: str) -> TargetDevice:
    """Return the device with this name.

    Raises:
        InvalidValueError: No target has this name.
    """
    if name not in TARGETS:
        raise InvalidValueError(f"device {name!r}: expected one of {', '.join(sorted(TARGETS))}")
    return TARGETS[name]
