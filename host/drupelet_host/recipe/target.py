"""The devices that models can be compiled for, with the properties that the compiler uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drupelet_shared.errors import InvalidValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDevice:
    """One kind of device.

    Attributes:
        name: The name in recipes and manifests.
        architecture: The architecture as `uname -m` prints it on the device.
        cores: The number of cores.
        channel_multiple: The multiple of channels for which kernels are efficient; pruned widths are multiples of it.
        engine_min_versions: The oldest version of each engine that packages for the device may require.
    """

    name: str
    architecture: str
    cores: int
    channel_multiple: int
    engine_min_versions: Mapping[str, str]


# A NEON register holds 4 floats and the GEMM kernels of both runtimes work on tiles of 8 output channels.
TARGETS = {
    "raspberry_pi_4": TargetDevice(
        name="raspberry_pi_4",
        architecture="aarch64",
        cores=4,
        channel_multiple=8,
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
