"""The recipe: a compile described in TOML, validated as a whole and immutable."""

from __future__ import annotations

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
from drupelet_host.recipe.compute import ComputeSection
from drupelet_host.recipe.latency import BoardsSection, StatedLatency
from drupelet_host.recipe.model import INPUT_NAME, TFLITE_SUFFIX, ModelSection
from drupelet_host.recipe.sources import DataSection, ExistingFile, Section, recipe_folder
from drupelet_host.recipe.target import DEFAULT_TARGET, TARGETS
from drupelet_host.recipe.tasks import (
    ANOMALY,
    DETECTION,
    SEGMENTATION,
    AnomalySection,
    DetectionSection,
    EvaluationSection,
    SegmentationSection,
)
from drupelet_shared.contract.faults import list_faults
from drupelet_shared.contract.schemas import FilledIn
from drupelet_shared.package.manifest import EngineName, ImagePreprocessing
from drupelet_shared.toml_files import read_toml
from drupelet_shared.units import ByteSize

# What a variant keeps of the metric where the recipe says nothing: with less, a package has led with a detector whose
# every score was zero.
DEFAULT_FLOOR = 0.95

Ratio = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]


def _in_recipe_folder(path: Path, info: ValidationInfo) -> Path:
    return (recipe_folder(info) / path).resolve()


def _with_input(value: object) -> object:
    return {"input": INPUT_NAME, **value} if isinstance(value, dict) else value


class TargetSection(Section):
    """[target]: the device.

    Attributes:
        device: The kind of device.
        latency: The source of every latency that decides. "boards" measures on those of [target.boards], "workstation"
            on this machine; "model" looks each layer up in a model of the device's processor, which has a range. "auto"
            is the boards where there are any, else the model where the device has one and it knows the network's
            layers, else this machine.
        boards: Real boards on which candidates are timed.
    """

    device: Annotated[str, Field(json_schema_extra={"enum": sorted(TARGETS)})] = DEFAULT_TARGET
    latency: Literal["auto", "boards", "model", "workstation"] = "auto"
    boards: BoardsSection | None = None

    @field_validator("device")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in TARGETS:
            raise ValueError(f"expected one of {', '.join(sorted(TARGETS))}")
        return value


class Constraints(Section):
    """[constraints]: what the result must reach; any subset.

    Attributes:
        max_metric_drop: A fraction from -1 to 1, not a percentage: 0.01 is one point; below 0 the result must be better
            than the original.
        metric_floor: The fraction of the original's metric below which a variant is not packed, whatever else it
            reaches. Without it 0.95 where `max_metric_drop` is not stated; 0 packs every variant. After a stated
            `prune_ratio` the pruned model's metric counts.
        max_size: Of the model file.
        max_latency: The latency of one inference at one thread: a time such as "20 ms", or a ratio to the original's in
            the same engine such as 0.5; of the median, or with "20 ms p99" of the 99th percentile, which a model of a
            processor does not have. The whole range of the latency must be within the limit. `target.latency` states
            where it comes from. A time is enough in one of several engines: devices run that one.
        memory_limit: Peak resident memory of a process that loads and runs the model; enough in one of several engines.
    """

    max_metric_drop: Annotated[float, Field(json_schema_extra={"minimum": -1, "maximum": 1})] | None = None
    max_size: ByteSize | None = None
    max_latency: StatedLatency | None = None
    memory_limit: ByteSize | None = None
    metric_floor: Share | None = None

    @property
    def floor(self) -> float | None:
        """The fraction of the original's metric that every variant keeps; None where only the stated drop counts."""
        if self.metric_floor is None and self.max_metric_drop is None:
            return DEFAULT_FLOOR
        return self.metric_floor

    @field_validator("max_metric_drop")
    @classmethod
    def _fraction(cls, value: float | None) -> float | None:
        if value is not None and not -1 <= value <= 1:
            raise ValueError("expected a fraction from -1 to 1; 0.01 is one point")
        return value


class SensitivityConfig(Section):
    """[sensitivity]: how the metric of each layer is measured against its pruning ratio.

    Attributes:
        ratios: The pruning ratios to measure.
        samples: The maximum number of validation samples to measure on.
    """

    ratios: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)] = (0.25, 0.5, 0.75)
    samples: Annotated[int, Field(gt=0)] = 512


class AugmentConfig(Section):
    """[prune.recovery.augment]: augmentation of the training images; the original model provides targets for each view.

    Attributes:
        mirror: Whether images may be mirrored horizontally.
        shift: The maximum shift in pixels in each direction; the border is repeated.
        views: The number of views of each image, including the image itself. The original model runs over the
            training data once for each view.
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
    """[prune.recovery]: the fine-tuning after each pruning step.

    Attributes:
        epochs: The maximum number of epochs for a model as costly as the original; a cheaper model gets up to eight
            times as many. Fine-tuning ends earlier when the metric is recovered; in a search that is constrained by
            the metric alone, when the metric exceeds the original's by the allowed drop.
        learning_rate: The maximum of the schedule for batches of 64 samples; it grows in proportion to the batch size.
        batch_size: The number of samples in a batch; by default 64 to 256, depending on the number of samples.
        schedule: The learning rate schedule.
        temperature: The temperature of distillation (Hinton et al., 2015).
        distillation_weight: Of a classifier: 1 learns only from the original model's outputs, 0 only from the labels.
            All others learn from the outputs: a detector from boxes and scores, each box weighted by its score.
        precision: "bfloat16" computes in bfloat16 where that is safe, with float32 weights; "auto" does so on a GPU.
        augment: The augmentation of the training images; none by default.
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
    """[prune]: how many channels are removed, and in how many steps.

    Attributes:
        prune_ratio: The fraction of channels to remove from a layer of average robustness. Without it the compiler
            searches for the smallest model that the constraints allow.
        iterations: The number of steps to that ratio.
        max_trials: The maximum number of candidates of a search.
        max_passes: The maximum number of passes over the training data in a search, over all candidates.
        max_minutes: The time after which a search starts no further candidate; the result then depends on the
            machine's speed.
        beam: The number of paths that a search follows at a time. The first is the search with `beam = 1`; the others
            take other steps or another importance, and go on from a better path where they fall behind. The best of all
            is the result. Each path has `max_trials` and `max_passes` of its own. The result depends on this number and
            not on how many processes compute the paths.
        layers: Factors on the ratio by name pattern (`fnmatch`), which override the policy; a layer with factor 0 is
            not pruned.
        importance: Which channels are removed first: those with the smallest norm of weights ("l1", "l2"), or with the
            smallest effect on the loss ("taylor"). "auto" is the one of l2 and taylor that keeps more of the metric at
            the middle sensitivity ratio.
        sparsity: The fraction of the remaining weights that is set to zero (L1, unstructured). It makes the package
            smaller, since archives compress zeros, but no variant faster.
        max_step_drop: The largest drop of the metric that a step may leave after recovery, and in a search after
            quantization too; `constraints.max_metric_drop` by default. Where neither is stated, every step to a stated
            `prune_ratio` is kept.
        recovery: The fine-tuning after each step.
    """

    prune_ratio: Ratio | None = None
    iterations: Annotated[int, Field(ge=1, le=50)] = 4
    max_trials: Annotated[int, Field(ge=1, le=200)] = 12
    max_passes: Annotated[int, Field(ge=1)] | None = None
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    beam: Annotated[int, Field(ge=1, le=64)] = 1
    layers: dict[str, Annotated[float, Field(ge=0, le=2)]] = Field(default_factory=dict)
    importance: Literal["auto", "l1", "l2", "taylor"] = "auto"
    sparsity: Ratio = 0.0
    max_step_drop: Annotated[float, Field(ge=-1, le=1)] | None = None
    recovery: RecoveryConfig = RecoveryConfig()


class QuantizeConfig(Section):
    """[quantize]: which quantized variants are made, and how.

    Attributes:
        samples: The number of training samples for calibration.
        method: The calibration method, which computes the range of an activation from its values; "auto" tries all
            methods with and without bias correction, and keeps the one with the best metric.
        variants: "static" has int8 weights and activations; "mixed" keeps the layers in float that lose most of the
            metric, or that int8 slows down on the device; "dynamic" has int8 weights, and activations that are
            quantized at run time; "float16" stores weights as float16.
        keep_float: Layers that stay in float, by `fnmatch` pattern on the module's name or on the name of their first
            output in the ONNX file.
        trial_samples: The number of validation samples on which methods and layers are compared.
        max_minutes: The time after which a pass that quantizes tries no further method and measures no further layer;
            the best so far is taken. The result then depends on the speed of the machine.
    """

    samples: Annotated[int, Field(gt=0)] = 128
    method: Literal["auto", "minmax", "entropy", "percentile", "mse"] = "auto"
    variants: tuple[Literal["static", "mixed", "dynamic", "float16"], ...] = ("static", "mixed", "dynamic", "float16")
    keep_float: tuple[str, ...] = ()
    trial_samples: Annotated[int, Field(gt=0)] = 2048
    max_minutes: Annotated[float, Field(gt=0)] | None = None


class ExportSection(Section):
    """[export]: the engines that variants are made for.

    Attributes:
        engines: The names of the engines.
    """

    engines: Annotated[tuple[EngineName, ...], Field(min_length=1)] = ("onnxruntime",)


class OutputSection(Section):
    """[output]: the package.

    Attributes:
        folder: The folder to write to; by default the folder of the recipe.
        key: The private key for the signature; without one the package is unsigned, and `drupelet sign` signs it.
    """

    folder: Annotated[Path, AfterValidator(_in_recipe_folder), Field(validate_default=True)] = Path()
    key: ExistingFile | None = None


class Recipe(Section):
    """The description of a compile; paths are relative to the recipe's folder.

    Attributes:
        seed: The seed of all random choices; the same seed gives the same weights on the same machine.
        device: The processor that trains; "auto" is a GPU where PyTorch finds one.
        model: The model to compile.
        data: The samples.
        evaluation: The metric.
        target: The device to compile for.
        constraints: The limits that the result must meet.
        sensitivity: The sensitivity analysis.
        prune: The pruning.
        quantize: The quantized variants.
        export: The engines.
        image: How an image is converted to the model's input; without it the model takes only tensors.
        detection: The meaning of a detector's outputs.
        segmentation: The meaning of a segmentation model's output.
        anomaly: The meaning of an anomaly detector's score.
        compute: Where the tasks of a compile run.
        output: The package.
    """

    # `load_recipe` adds an empty [output], whose folder is then the recipe's.
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
    detection: DetectionSection | None = None
    segmentation: SegmentationSection | None = None
    anomaly: AnomalySection | None = None
    compute: ComputeSection = ComputeSection()
    output: OutputSection

    @model_validator(mode="after")
    def _task_has_its_section(self) -> Self:
        sections = {DETECTION: self.detection, SEGMENTATION: self.segmentation, ANOMALY: self.anomaly}
        for task, section in sections.items():
            if section is None:
                continue
            if self.model.task != task:
                raise ValueError(f"[{task}] is for model.task = {task!r}: it is {self.model.task!r}")
            if self.image is None and task != ANOMALY:
                raise ValueError(f"[{task}] is for images: add [image] with color, height and width")
        return self

    @model_validator(mode="after")
    def _passes_fit_together(self) -> Self:
        if self.model.file is not None and self.model.file.suffix == TFLITE_SUFFIX:
            if self.export.engines != ("litert",):
                raise ValueError(
                    "model.file is a .tflite file, which only LiteRT runs: set export.engines = ['litert']"
                )
            return self
        if self.model.file is not None and "litert" in self.export.engines:
            raise ValueError("export.engines has 'litert': a file is compiled for onnxruntime and ncnn; use a factory")
        if self.model.file is not None and "onnxruntime" not in self.export.engines:
            raise ValueError(
                "export.engines lacks 'onnxruntime': a file's other variants are made from its ONNX Runtime variant"
            )
        if "mixed" in self.quantize.variants and "static" not in self.quantize.variants:
            raise ValueError("quantize.variants has 'mixed' without 'static', which it is based on")
        return self

    @model_validator(mode="after")
    def _image_fits_input(self) -> Self:
        if self.image is None or not self.model.specs:
            return self
        wanted = [spec for spec in self.model.specs if len(self.model.specs) == 1 or spec.name == self.image.input]
        if not wanted:
            names = ", ".join(spec.name for spec in self.model.specs)
            raise ValueError(f"image.input = {self.image.input!r}: expected the input that an image becomes: {names}")
        plane = (self.image.height, self.image.width)
        shape = (self.image.channels, *plane) if self.image.layout == "NCHW" else (*plane, self.image.channels)
        if (1, *shape) != wanted[0].shape:
            name = "model.input_shape" if self.model.input_shape else f"the shape of {wanted[0].name!r}"
            raise ValueError(f"image gives {[1, *shape]}, {name} is {list(wanted[0].shape)}")
        return self


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; paths in it are relative to its folder.

    Raises:
        RecipeError: The file cannot be read, or the recipe has faults; the message lists all of them.
    """
    try:
        document = read_toml(path)
    except OSError as error:
        raise RecipeError(f"recipe {path}: {error.strerror}") from error
    except ValueError as error:
        raise RecipeError(f"recipe {path}: {error}") from error
    return parse_recipe(document, folder=path.parent, source=str(path))


def parse_recipe(document: Mapping[str, Any], *, folder: Path, source: str = "recipe") -> Recipe:
    """Validate a recipe given as a mapping.

    Args:
        document: The recipe's sections by name.
        folder: The folder that paths in the recipe are relative to.
        source: The name of the recipe in messages.

    Returns:
        The recipe.

    Raises:
        RecipeError: The recipe has faults; the message lists all of them.
    """
    try:
        # Present even when empty: only validation can set the default folder, which is the recipe's.
        return Recipe.model_validate({"output": {}, **document}, context={"folder": folder})
    except ValidationError as error:
        faults = list_faults(error, document=document, model=Recipe, root="recipe")
        noun = "fault" if len(faults) == 1 else "faults"
        raise RecipeError("\n  - ".join([f"{source} has {len(faults)} {noun}:", *faults])) from error
