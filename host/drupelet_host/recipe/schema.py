"""The recipe: a whole compile described in TOML, checked at once and immutable afterwards."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from drupelet_host.errors import RecipeError
from drupelet_host.recipe.model import TFLITE_SUFFIX, ModelSection
from drupelet_host.recipe.sources import DataSource, ExistingFile, Factory, Section, recipe_folder
from drupelet_host.recipe.target import DEFAULT_TARGET, TARGETS
from drupelet_shared.contract.faults import list_faults
from drupelet_shared.contract.schemas import FilledIn
from drupelet_shared.package.manifest import EngineName, ImagePreprocessing
from drupelet_shared.units import ByteSize

INPUT_NAME, OUTPUT_NAME = "input", "output"

Ratio = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]


def _in_recipe_folder(path: Path, info: ValidationInfo) -> Path:
    return (recipe_folder(info) / path).resolve()


def _with_input(value: object) -> object:
    return {"input": INPUT_NAME, **value} if isinstance(value, dict) else value


class EvaluationSection(Section):
    """[evaluation]: what a model is worth.

    Attributes:
        metric: "top1" needs labels; "agreement" is how often the highest score is where the original's is; "fidelity"
            is how near all outputs are to the original's; "file.py:function" is one of your own, called with the
            outputs of all samples (dictionaries of arrays) and the labels. "auto" is the first of these three that the
            data and the model allow.
    """

    metric: Literal["auto", "top1", "agreement", "fidelity"] | Factory = "auto"


class DataSection(Section):
    """[data]: `train` recovers and calibrates, `validation` chooses, `test` proves; they share no sample.

    Each is "file.py:callable", an NPZ file with `inputs` and `labels`, a folder with a folder of images for each label,
    or a table of two IDX files.

    Attributes:
        train: What recovers and calibrates.
        validation: What every choice of the compiler is measured on.
        test: What the constraints are checked on in the end, and the result is reported on; without it the validation
            samples do that too, and the report says so.
        hold_out: The share of the validation samples that is kept apart as `test`, drawn at random.
    """

    train: DataSource
    validation: DataSource
    test: DataSource | None = None
    hold_out: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        if self.test is not None and self.hold_out is not None:
            raise ValueError("expected either test or hold_out: both say what the result is measured on")
        return self


class TargetSection(Section):
    """[target]: the device.

    Attributes:
        device: Its kind.
    """

    device: Annotated[str, Field(json_schema_extra={"enum": sorted(TARGETS)})] = DEFAULT_TARGET

    @field_validator("device")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in TARGETS:
            raise ValueError(f"expected one of {', '.join(sorted(TARGETS))}")
        return value


class Constraints(Section):
    """[constraints]: what the result must reach; any subset.

    Attributes:
        max_metric_drop: A fraction, not a percentage: 0.01 is one point; below 0 the result must be better than the
            original.
        max_size: Of the model file.
        max_latency: The p50 as a ratio to the original's in the same engine, both at one thread on this machine.
        memory_limit: Peak resident memory of a process that loads and runs the model.
    """

    max_metric_drop: Annotated[float, Field(json_schema_extra={"minimum": 0, "maximum": 1})] | None = None
    max_size: ByteSize | None = None
    max_latency: Annotated[float, Field(gt=0)] | None = None
    memory_limit: ByteSize | None = None

    @field_validator("max_metric_drop")
    @classmethod
    def _fraction(cls, value: float | None) -> float | None:
        if value is not None and not -1 <= value <= 1:
            raise ValueError("expected a fraction from -1 to 1; 0.01 is one point")
        return value


class SensitivityConfig(Section):
    """[sensitivity]: how the metric of each layer is measured against its pruning ratio.

    Attributes:
        ratios: The pruning ratios that are measured.
        samples: Most validation samples to measure on.
    """

    ratios: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)] = (0.25, 0.5, 0.75)
    samples: Annotated[int, Field(gt=0)] = 512


class AugmentConfig(Section):
    """[prune.recovery.augment]: other views of the training images, which the original answers too.

    Attributes:
        mirror: Whether left and right may change places.
        shift: Most pixels that an image is moved by, in any direction; what comes in repeats the border.
        views: How many there are of each image, itself included; for each the original runs over the training data.
    """

    mirror: bool = False
    shift: Annotated[int, Field(ge=0)] = 0
    views: Annotated[int, Field(ge=2, le=64)] = 8

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.mirror and not self.shift:
            raise ValueError("expected mirror = true or a shift above 0: all views would be the same")
        return self


class RecoveryConfig(Section):
    """[prune.recovery]: the fine-tuning after each step.

    Attributes:
        epochs: Most passes over the training data at the original's cost; a cheaper model gets up to eight times as
            many. It ends earlier when the metric is back; where a search is told of nothing but the metric, when it has
            as much to spare as may be lost.
        learning_rate: The highest of the schedule, for 64 samples a step; more samples take a larger one in proportion.
        batch_size: Samples a step; without it 64 to 256, by how many samples there are.
        schedule: How the learning rate falls.
        temperature: Softens the original's outputs (Hinton et al., 2015).
        distillation_weight: 1 learns from the original alone, 0 from the labels alone.
        precision: "bfloat16" computes in it where that is safe, the weights stay float32; "auto" does on a GPU.
        augment: Other views of the images to learn from.
    """

    epochs: Annotated[int, Field(ge=0, le=1000)] = 4
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    batch_size: Annotated[int, Field(gt=1)] | None = None
    schedule: Literal["cosine", "one-cycle"] = "one-cycle"
    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0
    distillation_weight: Share = 0.7
    precision: Precision = "auto"
    augment: AugmentConfig | None = None


class PruneConfig(Section):
    """[prune]: how much of each layer goes, and in how many steps.

    Attributes:
        prune_ratio: The fraction of channels to remove from a layer of average robustness; without it the compiler
            searches for what the constraints allow.
        iterations: Steps to get to that ratio.
        max_trials: Most candidates that a search makes.
        max_passes: Most passes over the training data that a search makes, over all candidates.
        max_minutes: After this time a search begins no candidate; where it ends then depends on the machine's speed.
        layers: Factors on the ratio by name pattern (`fnmatch`); 0 leaves a layer alone. They override the policy.
        importance: Which channels go first: by a norm of their weights, by their share in the loss, or whichever of l2
            and taylor keeps more of the metric at the middle sensitivity ratio.
        sparsity: The fraction of the remaining weights that is set to zero (L1, unstructured). It makes the package
            smaller, since archives compress zeros, and nothing faster.
        max_step_drop: What a step may cost after recovery (in a search, after quantization too);
            `constraints.max_metric_drop` if not given.
        recovery: The fine-tuning after each step.
    """

    prune_ratio: Ratio | None = None
    iterations: Annotated[int, Field(ge=1, le=50)] = 4
    max_trials: Annotated[int, Field(ge=1, le=200)] = 12
    max_passes: Annotated[int, Field(ge=1)] | None = None
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    layers: dict[str, Annotated[float, Field(ge=0, le=2)]] = Field(default_factory=dict)
    importance: Literal["auto", "l1", "l2", "taylor"] = "auto"
    sparsity: Ratio = 0.0
    max_step_drop: Annotated[float, Field(ge=-1, le=1)] | None = None
    recovery: RecoveryConfig = RecoveryConfig()


class QuantizeConfig(Section):
    """[quantize]: which smaller variants are made for ONNX Runtime, and how.

    Attributes:
        samples: Training samples that show the activations' ranges.
        method: How a range comes from what was seen; "auto" tries all, with and without bias correction, and keeps
            what scores best.
        variants: "static" is int8 weights and activations, "mixed" leaves the layers in float that cost most or are
            more work in int8 on the device, "dynamic" is int8 weights alone, "float16" stores weights as float16.
        keep_float: Layers that stay in float, by `fnmatch` pattern on the module's name or on their first output in the
            ONNX file.
        trial_samples: Validation samples that choose between methods and between layers.
    """

    samples: Annotated[int, Field(gt=0)] = 128
    method: Literal["auto", "minmax", "entropy", "percentile", "mse"] = "auto"
    variants: tuple[Literal["static", "mixed", "dynamic", "float16"], ...] = ("static", "mixed", "dynamic", "float16")
    keep_float: tuple[str, ...] = ()
    trial_samples: Annotated[int, Field(gt=0)] = 2048


class ExportSection(Section):
    """[export]: what variants are made for.

    Attributes:
        engines: The engines.
    """

    engines: Annotated[tuple[EngineName, ...], Field(min_length=1)] = ("onnxruntime",)


class OutputSection(Section):
    """[output]: the package.

    Attributes:
        folder: Where it goes; without it beside the recipe.
        key: The private key that signs it; without it, `drupelet sign` does.
    """

    folder: Annotated[Path, AfterValidator(_in_recipe_folder), Field(validate_default=True)] = Path()
    key: ExistingFile | None = None


class Recipe(Section):
    """A compile, as a person states it; paths are relative to the recipe's folder.

    Attributes:
        seed: Of everything random; the same one gives the same weights on the same machine.
        device: What trains: "auto" is a GPU where PyTorch finds one.
        model: What is compiled.
        data: The samples.
        evaluation: What a model is worth.
        target: The device.
        constraints: What the result must reach.
        sensitivity: How the layers are measured.
        prune: How much of each layer goes.
        quantize: Which smaller variants are made.
        export: The engines.
        image: How an image becomes the model's input; without it the model takes tensors alone.
        output: The package.
    """

    # `load_recipe` gives [output], so that its folder is the recipe's.
    model_config = ConfigDict(json_schema_extra=FilledIn("output", {}).apply)

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: DeviceName = "auto"
    model: ModelSection
    data: DataSection
    evaluation: EvaluationSection = EvaluationSection()
    target: TargetSection = TargetSection()
    constraints: Constraints = Constraints()
    sensitivity: SensitivityConfig = SensitivityConfig()
    prune: PruneConfig = PruneConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    export: ExportSection = ExportSection()
    image: Annotated[ImagePreprocessing, FilledIn("input", INPUT_NAME), BeforeValidator(_with_input)] | None = None
    output: OutputSection

    @model_validator(mode="after")
    def _passes_fit_together(self) -> Self:
        if self.model.file is not None and self.model.file.suffix == TFLITE_SUFFIX:
            if self.export.engines != ("litert",):
                raise ValueError(
                    "model.file is a .tflite file, which LiteRT alone runs: set export.engines = ['litert']"
                )
            return self
        if self.model.file is not None and "litert" in self.export.engines:
            raise ValueError("export.engines has 'litert': a file is compiled for onnxruntime and ncnn; use a factory")
        if self.model.file is not None and "onnxruntime" not in self.export.engines:
            raise ValueError("export.engines lacks 'onnxruntime': a file's other variants are made from that one")
        if "mixed" in self.quantize.variants and "static" not in self.quantize.variants:
            raise ValueError("quantize.variants has 'mixed' without 'static', which it starts from")
        return self

    @model_validator(mode="after")
    def _image_fits_input(self) -> Self:
        if self.image is None or self.model.input_shape is None:
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

    Returns:
        The recipe.

    Raises:
        RecipeError: It has faults; the message lists all of them.
    """
    try:
        # Given even when empty: the default folder is the recipe's, which only validation knows.
        return Recipe.model_validate({"output": {}, **document}, context={"folder": folder})
    except ValidationError as error:
        faults = list_faults(error, document=document, model=Recipe, root="recipe")
        noun = "fault" if len(faults) == 1 else "faults"
        raise RecipeError("\n  - ".join([f"{source} has {len(faults)} {noun}:", *faults])) from error
