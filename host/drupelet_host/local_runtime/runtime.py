"""Running a model on the workstation within a device's limits: cores and memory, enforced by the kernel."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from drupelet_host.local_runtime.process import LoadedModel, ModelFile
from drupelet_host.recipe.target import DEFAULT_TARGET, TARGETS
from drupelet_shared.contract.faults import list_faults
from drupelet_shared.errors import InvalidValueError
from drupelet_shared.package.reading import unpack_package
from drupelet_shared.units import ByteSize

_ENGINE = "onnxruntime"
_PACKAGE_SUFFIX = ".drupe"


class DeviceConfig(BaseModel):
    """The limits a model runs within.

    Attributes:
        device_type: Which device they stand for.
        memory_limit: Resident memory of the process that runs the model, interpreter and runtime included.
        cpu_cores: Cores it may use; fewer where the machine has fewer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device_type: str = DEFAULT_TARGET
    memory_limit: ByteSize | None = None
    cpu_cores: Annotated[int, Field(ge=1, le=1024)] = TARGETS[DEFAULT_TARGET].cores

    @field_validator("device_type")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in TARGETS:
            raise ValueError(f"expected one of {', '.join(sorted(TARGETS))}")
        return value


class Runtime:
    """Loads models, each into a process of its own with the device's limits.

    This machine's processor is not the device's: the limits are real here, the times are not the device's.

    Args:
        device_config: The device, or a mapping with its keys.
    """

    def __init__(self, device_config: DeviceConfig | Mapping[str, Any]) -> None:
        self.config = device_config if isinstance(device_config, DeviceConfig) else parse_device_config(device_config)

    def __repr__(self) -> str:
        return f"Runtime({self.config!r})"

    def load_model(self, path: str | Path) -> LoadedModel:
        """Load a model file, or the best variant of a package.

        Args:
            path: An ONNX file, or a `.drupe` package. A package's digests are checked, its signature's key is not: that
                is what `drupelet verify` and the device do.

        Raises:
            MemoryLimitError: The model does not fit.
            ModelLoadError: The file cannot be loaded.
            PackageError: The package is refused.
        """
        path = Path(path)
        with ExitStack() as resources:
            file = ModelFile(path, _ENGINE)
            if path.suffix == _PACKAGE_SUFFIX:
                folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="drupelet-")))
                variant = unpack_package(path, folder, trusted_keys=None).manifest.variants[0]
                file = ModelFile(folder / variant.path, variant.engine)
            # The worker has read the file when this returns; the unpacked package can go.
            return LoadedModel(file, cores=self.config.cpu_cores, memory_limit_bytes=self.config.memory_limit)


def parse_device_config(document: Mapping[str, Any]) -> DeviceConfig:
    """Check a device configuration.

    Raises:
        InvalidValueError: It has faults; the message lists all of them, with the keys that are allowed.
    """
    try:
        return DeviceConfig.model_validate(dict(document))
    except ValidationError as error:
        faults = list_faults(error, document=document, model=DeviceConfig)
        raise InvalidValueError(f"device_config: {'; '.join(faults)}") from error
