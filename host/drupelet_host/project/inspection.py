"""What a model is: inputs, outputs, size, and the task that its shapes suggest."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drupelet_host.evaluation.cost import count_file_parameters, count_macs, count_parameters
from drupelet_host.evaluation.tflite import count_tflite_parameters
from drupelet_host.export.files import make_loadable
from drupelet_host.latency.engines import engine_of
from drupelet_host.recipe.model import CLASSIFICATION, TFLITE_SUFFIX, ModelSection
from drupelet_host.torch_models.inputs import make_zeros
from drupelet_host.torch_models.loading import check_runs, load_model
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.tensors import Datatype, TensorSpec

_MATRIX_RANK, _CANDIDATES_RANK, _IMAGE_RANK = 2, 3, 4
_COLORS = {1: "gray", 3: "rgb"}
_TENSORS = "tensors"


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An input that looks like an image.

    Attributes:
        color: "gray" or "rgb".
        layout: "NCHW" or "NHWC".
        height: In pixels; None if it may vary.
        width: In pixels; None if it may vary.
    """

    color: str
    layout: str
    height: int | None
    width: int | None


@dataclass(frozen=True, slots=True)
class InspectedModel:
    """A model that was loaded and looked at.

    Attributes:
        inputs: The inputs; -1 is a variable dimension.
        outputs: The outputs.
        parameters: The number of weights.
        macs: Multiply-accumulates of one inference; None for a file.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    macs: int | None

    @property
    def task(self) -> str:
        """The task: classification for one output of shape (1, classes), else tensors."""
        classifies = len(self.outputs) == 1 and len(self.outputs[0].shape) == _MATRIX_RANK
        return CLASSIFICATION if classifies else _TENSORS

    @property
    def may_detect(self) -> bool:
        """Whether an image goes in and one output of candidates and their columns comes out, as from YOLO."""
        return self.image is not None and [len(spec.shape) for spec in self.outputs] == [_CANDIDATES_RANK]

    @property
    def classes(self) -> int | None:
        """The number of scores of a classifier, where it is fixed."""
        if self.task != CLASSIFICATION or self.outputs[0].shape[1] < 1:
            return None
        return self.outputs[0].shape[1]

    @property
    def image(self) -> ImageInput | None:
        """The only input, if it looks like an image: one or three channels, first or last."""
        if len(self.inputs) != 1 or len(self.inputs[0].shape) != _IMAGE_RANK:
            return None
        if self.inputs[0].datatype not in {Datatype.FP32, Datatype.FP16, Datatype.UINT8}:
            return None
        _, first, second, last = self.inputs[0].shape
        if first in _COLORS:
            return ImageInput(_COLORS[first], "NCHW", _fixed(second), _fixed(last))
        if last in _COLORS:
            return ImageInput(_COLORS[last], "NHWC", _fixed(first), _fixed(second))
        return None


def inspect_model(section: ModelSection) -> InspectedModel:
    """Load a model and look at it.

    Args:
        section: The [model] section that names it.

    Returns:
        What it is.

    Raises:
        ModelError: The module cannot be made or does not run.
        ModelLoadError: The file cannot be loaded.
        EngineUnavailableError: The engine that loads the file is not installed.
    """
    if section.file is not None:
        return _inspect_file(section.file)
    model = load_model(section)
    outputs = check_runs(model, section.specs, names=section.outputs)
    return InspectedModel(
        inputs=section.specs,
        outputs=tuple(TensorSpec(name=name, datatype=Datatype.FP32, shape=shape) for name, shape in outputs.items()),
        parameters=count_parameters(model),
        macs=count_macs(model, {spec.name: make_zeros(spec.datatype, spec.shape) for spec in section.specs}),
    )


def sample_shape(spec: TensorSpec, *, image: ImageInput | None) -> Sequence[int]:
    """Return a shape that an input takes: 1 for a variable batch, 224 for a variable side of an image, else 32."""
    usual = 32 if image is None else 224
    return [size if size > 0 else (1 if axis == 0 else usual) for axis, size in enumerate(spec.shape)]


def _inspect_file(file: Path) -> InspectedModel:
    with tempfile.TemporaryDirectory(prefix="drupelet-init-") as folder:
        source = make_loadable(file, Path(folder))
        session = load_engine(engine_of(source)).load(source, threads=1)
        count = count_tflite_parameters if source.suffix == TFLITE_SUFFIX else count_file_parameters
        return InspectedModel(session.inputs, session.outputs, count(source), None)


def _fixed(size: int) -> int | None:
    return size if size > 0 else None
