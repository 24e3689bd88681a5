"""The recipe: a whole compile described in TOML, checked at once and immutable afterwards."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from drupelet_host.errors import RecipeError
from drupelet_host.recipe_faults import describe_recipe_faults
from drupelet_host.recipe_sources import DataSource, ExistingFile, Factory, Section, existing_file, recipe_folder
from drupelet_host.target import DEFAULT_TARGET, TARGETS
from drupelet_shared.manifest import EngineName, ImagePreprocessing
from drupelet_shared.names import Name
from drupelet_shared.units import ByteSize

INPUT_NAME, OUTPUT_NAME = "input", "output"

Ratio = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]


def _in_recipe_folder(path: Path, info: ValidationInfo) -> Path:
    return (recipe_folder(info) / path).resolve()


def _with_input(value: object) -> object:
    return {"input": INPUT_NAME, **value} if isinstance(value, dict) else value


class ModelSection(Section):
    """[model]: what is compiled. `input_shape` is the whole input's, batch first, and the batch is 1."""

    name: Name
    version: Name
    release: Annotated[int, Field(ge=1)]
    factory: Factory
    weights: ExistingFile | None = None
    task: Literal["classification"] = "classification"
    input_shape: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=2, max_length=8)]
    labels: tuple[str, ...] = ()

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_from_file(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        return tuple(existing_file(Path(value), info).read_text(encoding="utf-8").splitlines())

    @field_validator("input_shape")
    @classmethod
    def _one_at_a_time(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if value[0] != 1:
            raise ValueError("the first number is the batch, which is 1 on the device")
        return value


class DataSection(Section):
    """[data]: `train` recovers and calibrates, `validation` measures; they share no sample."""

    train: DataSource
    validation: DataSource


class TargetSection(Section):
    """[target]: the device."""

    device: str = DEFAULT_TARGET

    @field_validator("device")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in TARGETS:
            raise ValueError(f"expected one of {', '.join(sorted(TARGETS))}")
        return value


class Constraints(Section):
    """[constraints]: what the result must reach; any subset.

    Attributes:
        max_metric_drop: A fraction, not a percentage: 0.01 is one point.
        max_size: Of the model file.
        max_latency: The p50 as a ratio to the original's in ONNX Runtime, both at one thread on this machine.
        memory_limit: Peak resident memory of a process that loads and runs the model.
    """

    max_metric_drop: float | None = None
    max_size: ByteSize | None = None
    max_latency: Annotated[float, Field(gt=0)] | None = None
    memory_limit: ByteSize | None = None

    @field_validator("max_metric_drop")
    @classmethod
    def _fraction(cls, value: float | None) -> float | None:
        if value is not None and not 0 <= value <= 1:
            raise ValueError("expected a fraction from 0 to 1; 0.01 is one point")
        return value


class SensitivityConfig(Section):
    """[sensitivity]: the pruning ratios at which each group is measured, on at most `samples` validation samples."""

    ratios: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)] = (0.25, 0.5, 0.75)
    samples: Annotated[int, Field(gt=0)] = 512


class RecoveryConfig(Section):
    """[prune.recovery]: the fine-tuning after each step.

    Attributes:
        epochs: Most passes over the training data; it ends earlier when the metric is back.
        learning_rate: The highest of the schedule.
        batch_size: Samples a step.
        schedule: How the learning rate falls.
        temperature: Softens the original's outputs (Hinton et al., 2015).
        distillation_weight: 1 learns from the original alone, 0 from the labels alone.
    """

    epochs: Annotated[int, Field(ge=0, le=1000)] = 4
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    batch_size: Annotated[int, Field(gt=1)] = 64
    schedule: Literal["cosine", "one-cycle"] = "one-cycle"
    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0
    distillation_weight: Share = 0.7


class PruneConfig(Section):
    """[prune]: how much of each layer goes, and in how many steps.

    Attributes:
        prune_ratio: The fraction of channels to remove from a layer of average robustness; without it the compiler
            searches for what the constraints allow.
        iterations: Steps to get to that ratio.
        max_trials: Most candidates that a search makes.
        layers: Factors on the ratio by name pattern (`fnmatch`); 0 leaves a layer alone. They override the policy.
        importance: Which channels go first: by a norm of their weights, by their share in the loss, or whichever of l2
            and taylor keeps more of the metric at the middle sensitivity ratio.
        max_step_drop: What a step may cost after recovery (in a search, after quantization too);
            `constraints.max_metric_drop` if not given.
        recovery: The fine-tuning after each step.
    """

    prune_ratio: Ratio | None = None
    iterations: Annotated[int, Field(ge=1, le=50)] = 4
    max_trials: Annotated[int, Field(ge=1, le=200)] = 12
    layers: dict[str, Annotated[float, Field(ge=0, le=2)]] = Field(default_factory=dict)
    importance: Literal["auto", "l1", "l2", "taylor"] = "auto"
    max_step_drop: Share | None = None
    recovery: RecoveryConfig = RecoveryConfig()


class QuantizeConfig(Section):
    """[quantize]: static int8, calibrated with `samples` training samples."""

    samples: Annotated[int, Field(gt=0)] = 128
    method: Literal["minmax", "entropy", "percentile"] = "minmax"


class ExportSection(Section):
    """[export]: the engines that variants are made for."""

    engines: Annotated[tuple[EngineName, ...], Field(min_length=1)] = ("onnxruntime",)


class OutputSection(Section):
    """[output]: where the package goes, relative to the recipe, and the private key that signs it."""

    folder: Annotated[Path, AfterValidator(_in_recipe_folder), Field(validate_default=True)] = Path()
    key: ExistingFile | None = None


class Recipe(Section):
    """A compile, as a person states it."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    model: ModelSection
    data: DataSection
    target: TargetSection = TargetSection()
    constraints: Constraints = Constraints()
    sensitivity: SensitivityConfig = SensitivityConfig()
    prune: PruneConfig = PruneConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    export: ExportSection = ExportSection()
    image: Annotated[ImagePreprocessing, BeforeValidator(_with_input)] | None = None
    output: OutputSection

    @model_validator(mode="after")
    def _image_fits_input(self) -> Self:
        if self.image is None:
            return self
        plane = (self.image.height, self.image.width)
        shape = (self.image.channels, *plane) if self.image.layout == "NCHW" else (*plane, self.image.channels)
        if (1, *shape) != self.model.input_shape:
            raise ValueError(f"image gives {[1, *shape]}, model.input_shape is {list(self.model.input_shape)}")
        return self


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; paths in it are relative to its folder.

    Raises:
        RecipeError: It cannot be read, or has faults; the message lists all of them.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path}: not TOML: {error}") from error
    return parse_recipe(document, folder=path.parent, source=str(path))


def parse_recipe(document: Mapping[str, Any], *, folder: Path, source: str = "recipe") -> Recipe:
    """Check a recipe that is already a mapping.

    Args:
        document: The sections.
        folder: What paths in it are relative to.
        source: What to call it in messages.

    Raises:
        RecipeError: It has faults; the message lists all of them.
    """
    try:
        # Given even when empty: the default folder is the recipe's, which only validation knows.
        return Recipe.model_validate({"output": {}, **document}, context={"folder": folder})
    except ValidationError as error:
        faults = describe_recipe_faults(error, document=document, model=Recipe)
        noun = "fault" if len(faults) == 1 else "faults"
        raise RecipeError("\n  - ".join([f"{source} has {len(faults)} {noun}:", *faults])) from error
