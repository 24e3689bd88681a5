"""The start of a compile: loads the model and its data, and checks them against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from torch import nn

from drupelet_host.compiler.state import CompileState, Training
from drupelet_host.data.checks import check_ranges, find_overlaps
from drupelet_host.data.dataset import Dataset, check_fits
from drupelet_host.data.feeds import load_samples
from drupelet_host.data.labels import Labels, check_class_labels, check_masks, check_objects, check_verdicts
from drupelet_host.data.samples import Samples, hold_out, split_dataset, split_rows
from drupelet_host.data.sources import load_source
from drupelet_host.errors import DataError, ModelError, RecipeError
from drupelet_host.evaluation.answers import check_answers
from drupelet_host.evaluation.metrics import TOP1, Agreement, CustomMetric, Fidelity, Metric
from drupelet_host.evaluation.scoring import answer_module, answer_session
from drupelet_host.evaluation.task_metrics.anomaly import BalancedAccuracy
from drupelet_host.evaluation.task_metrics.detection import OVERLAPS, MeanAveragePrecision
from drupelet_host.evaluation.task_metrics.segmentation import MeanIntersectionOverUnion
from drupelet_host.export.files import make_loadable
from drupelet_host.export.onnx import export_onnx
from drupelet_host.onnx_files.preparation import prepare
from drupelet_host.onnx_files.soundness import check_interface, check_repeats, check_weights
from drupelet_host.pruning.structure.groups import find_structure
from drupelet_host.pruning.structure.trial import TRIAL_SAMPLES
from drupelet_host.quantization.layers import Layer, find_layers, match_layers
from drupelet_host.recipe.factories import FactoryRef, load_factory
from drupelet_host.recipe.model import CLASSIFICATION, TFLITE_SUFFIX
from drupelet_host.recipe.postprocessing import load_priors, resolve_postprocessing
from drupelet_host.recipe.schema import Recipe
from drupelet_host.recipe.sources import DataSource
from drupelet_host.recipe.tasks import ANOMALY, DETECTION, SEGMENTATION
from drupelet_host.torch_models.inputs import make_tensors
from drupelet_host.torch_models.loading import check_runs, load_model
from drupelet_host.torch_models.soundness import check_batches, check_parameters, check_repeats_module
from drupelet_host.training.task_outputs import TaskOutputs
from drupelet_shared.engines.base import Session
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.package.manifest import ImagePreprocessing
from drupelet_shared.postprocessing.specs import Anomaly, Detection, Segmentation
from drupelet_shared.tensors import TensorSpec, shape_matches

_MATRIX_RANK = 2
_CHECKED_ANSWERS = 16
_CHECKED_BATCH = 3
_METRICS: Mapping[str, Callable[[], Metric]] = {"top1": lambda: TOP1, "agreement": Agreement, "fidelity": Fidelity}
_TASK_METRICS = {
    "map50": DETECTION,
    "map50_95": DETECTION,
    "mean_iou": SEGMENTATION,
    "balanced_accuracy": ANOMALY,
}
_NO_LAYERS = "the model has no convolution, linear or recurrent layer. "
_LABELLED = {"top1", *_TASK_METRICS}
Shape = tuple[int, ...]
_Part = Literal["train", "validation", "test"]


def start_compile(recipe: Recipe, workspace: Path) -> CompileState:
    """Load the model and the data.

    Args:
        recipe: The recipe.
        workspace: A folder for what must be converted first.

    Raises:
        ModelError: The model cannot be loaded, or is not what its task needs.
        DataError: The data cannot be read or does not fit the model or the metric.
    """
    return _start_from_module(recipe, workspace) if recipe.model.factory else _start_from_file(recipe, workspace)


def _start_from_module(recipe: Recipe, workspace: Path) -> CompileState:
    model = load_model(recipe.model)
    check_parameters(model)
    outputs = check_runs(model, recipe.model.specs, names=recipe.model.outputs)
    classes = _count_classes(recipe, outputs)
    train, validation = (_load_dataset(recipe, what, classes=classes) for what in ("train", "validation"))
    test = _load_dataset(recipe, "test", classes=classes) if recipe.data.test else None
    if recipe.data.hold_out is not None:
        validation, test = hold_out(validation, recipe.data.hold_out, seed=recipe.seed)
    check_batches(model, make_tensors(validation.first(_CHECKED_BATCH)))
    check_repeats_module(model, make_tensors(validation.first(1)))
    seen = answer_module(model, validation.first(_CHECKED_ANSWERS), names=list(outputs))
    checked = min(len(validation), _CHECKED_ANSWERS)
    check_answers(split_rows(seen, count=checked), source=str(recipe.model.factory))
    metric = _choose_metric(recipe, validation, test, outputs=outputs)
    if recipe.model.task != CLASSIFICATION:
        # Training learns from class indices alone; every other task learns from the original's outputs.
        train = replace(train, labels=None)
    _check_module_patterns(recipe, model, train, workspace, output_names=list(outputs))
    if recipe.prune.prune_ratio:
        _check_prunable(model, train, ratio=recipe.prune.prune_ratio)
    parts: dict[str, Dataset] = {"train": train, "validation": validation} | ({"test": test} if test else {})
    check_ranges(parts, image=recipe.image)
    if metric is not TOP1:
        names = list(outputs)
        validation = replace(validation, answers=answer_module(model, validation.inputs, names=names))
        test = replace(test, answers=answer_module(model, test.inputs, names=names)) if test else None
    training = Training(
        original=model,
        model=model,
        train=train,
        validation=validation,
        output_names=tuple(outputs),
        task=_describe_outputs(recipe, outputs),
    )
    calibration = train.subset(recipe.quantize.samples, seed=recipe.seed)
    return CompileState(
        workspace=workspace,
        samples=split_dataset(validation),
        test=split_dataset(test) if test else None,
        calibration=split_dataset(calibration),
        metric=metric,
        training=training,
        notes=find_overlaps(parts),
    )


def _start_from_file(recipe: Recipe, workspace: Path) -> CompileState:
    source = recipe.model.file
    assert source is not None, "the recipe checks it"
    source = make_loadable(source, workspace)
    if source.suffix == TFLITE_SUFFIX:
        session = load_engine("litert").load(source, threads=1)
    else:
        check_interface(source)
        check_weights(source)
        session = load_engine("onnxruntime").load(source, threads=0)
    outputs = {spec.name: spec.shape for spec in session.outputs}
    if recipe.image is not None:
        _check_image(recipe.image, session.inputs)
    classes = _count_classes(recipe, outputs)
    train, validation = (_load_samples(recipe, session, what, classes=classes) for what in ("train", "validation"))
    test = _load_samples(recipe, session, "test", classes=classes) if recipe.data.test else None
    if recipe.data.hold_out is not None:
        validation, test = hold_out(validation, recipe.data.hold_out, seed=recipe.seed)
    if source.suffix != TFLITE_SUFFIX:
        check_repeats(source, validation.feeds[0])
    check_answers(answer_session(session, validation.feeds[:_CHECKED_ANSWERS]), source=source.name)
    metric = _choose_metric(recipe, validation, test, outputs=outputs)
    # Its faults are those of the recipe: they are found before any work, whatever the metric.
    resolve_postprocessing(recipe, outputs)
    load_priors(recipe)
    if source.suffix != TFLITE_SUFFIX and recipe.quantize.keep_float:
        _require_matches(recipe.quantize.keep_float, find_layers(prepare(source)))
    parts: dict[str, Samples] = {"train": train, "validation": validation} | ({"test": test} if test else {})
    check_ranges(parts, image=recipe.image)
    if metric is not TOP1:
        validation = replace(validation, answers=answer_session(session, validation.feeds))
        test = replace(test, answers=answer_session(session, test.feeds)) if test else None
    return CompileState(
        workspace=workspace,
        samples=validation,
        test=test,
        calibration=train.subset(recipe.quantize.samples, seed=recipe.seed),
        metric=metric,
        source=source,
        notes=find_overlaps(parts),
    )


def _check_module_patterns(
    recipe: Recipe, model: nn.Module, train: Dataset, workspace: Path, *, output_names: Sequence[str]
) -> None:
    """Check that each pattern of [prune] and [quantize] matches a layer, before hours of pruning."""
    names = [name for name, _ in model.named_modules() if name]

    def is_idle(pattern: str) -> bool:
        return not any(fnmatchcase(name, pattern) for name in names)

    if idle := [pattern for pattern in recipe.prune.layers if is_idle(pattern)]:
        raise RecipeError(f"prune.layers: {', '.join(idle)} match none of the modules {', '.join(names)}")
    if idle := [pattern for pattern in recipe.quantize.keep_float if is_idle(pattern)]:
        # They may mean tensors of the exported graph.
        path = workspace / "layers.onnx"
        export_onnx(model, make_tensors(train.first(1)), path, output_names=output_names)
        _require_matches(idle, find_layers(prepare(path)))


def _check_prunable(model: nn.Module, train: Dataset, *, ratio: float) -> None:
    """Check that a stated ratio can be done: without any layer that can lose channels, nothing would be pruned."""
    samples = make_tensors(train.spread(TRIAL_SAMPLES))
    structure = find_structure(model, make_tensors(train.first(1)), samples=samples)
    if structure.groups:
        return
    reasons = "\n".join(f"  - {layer}: {reason}" for layer, reason in structure.unpruned.items())
    why = f"no layer of the model can lose channels:\n{reasons}\n" if reasons else _NO_LAYERS
    raise ModelError(
        f"prune.prune_ratio = {ratio:g} cannot be done: {why}Leave prune_ratio out of the recipe to compile the model "
        "without pruning."
    )


def _require_matches(patterns: Sequence[str], layers: Sequence[Layer]) -> None:
    if idle := [pattern for pattern, names in match_layers(layers, patterns).items() if not names]:
        known = ", ".join(layer.label for layer in layers)
        raise RecipeError(f"quantize.keep_float: {', '.join(idle)} match none of the layers {known}")


def _choose_metric(
    recipe: Recipe, validation: Dataset | Samples, test: Dataset | Samples | None, *, outputs: Mapping[str, Shape]
) -> Metric:
    metric = choose_metric(recipe, labels=validation.labels, outputs=outputs)
    if metric.name in _LABELLED and test is not None and test.labels is None:
        raise DataError(
            f"test data: has no labels: evaluation.metric = {metric.name!r}, as for the validation data, needs them"
        )
    return metric


def choose_metric(recipe: Recipe, *, labels: Labels | None, outputs: Mapping[str, Shape]) -> Metric:
    """Return the metric that the recipe names, or the first that the data and the task allow.

    Args:
        recipe: The recipe.
        labels: The labels of the validation samples, if there are any.
        outputs: The shapes of the model's outputs by name.

    Raises:
        DataError: The metric needs labels and there are none.
        ModelError: The metric needs one output and the model has several, or it is another task's.
    """
    stated = recipe.evaluation.metric
    if isinstance(stated, FactoryRef):
        return CustomMetric(stated.attribute, load_factory(stated, error=DataError))
    name = _default_metric(recipe, labelled=labels is not None) if stated == "auto" else stated
    if name in _LABELLED and labels is None:
        raise DataError(f"validation data: has no labels: evaluation.metric = {name!r} compares with them")
    if name in _TASK_METRICS:
        return _task_metric(name, recipe, outputs)
    if name != "fidelity" and len(outputs) != 1:
        raise ModelError(
            f"model gives {len(outputs)} outputs ({', '.join(outputs)}): evaluation.metric = {name!r} looks at one; "
            "take 'fidelity' or a function of yours"
        )
    return _METRICS[name]()


def _default_metric(recipe: Recipe, *, labelled: bool) -> str:
    if recipe.model.task == CLASSIFICATION:
        return "top1" if labelled else "agreement"
    sections = {"map50_95": recipe.detection, "mean_iou": recipe.segmentation, "balanced_accuracy": recipe.anomaly}
    stated = (name for name, section in sections.items() if section is not None)
    return next(stated, "fidelity") if labelled else "fidelity"


def _task_metric(name: str, recipe: Recipe, outputs: Mapping[str, Shape]) -> Metric:
    spec, image = resolve_postprocessing(recipe, outputs), recipe.image
    if name == "mean_iou" and isinstance(spec, Segmentation):
        return MeanIntersectionOverUnion(spec)
    if name == "balanced_accuracy" and isinstance(spec, Anomaly):
        return BalancedAccuracy(spec)
    if name in OVERLAPS and isinstance(spec, Detection) and image is not None:
        size = (image.height, image.width)
        return MeanAveragePrecision(spec, size=size, overlaps=OVERLAPS[name], priors=load_priors(recipe), name=name)
    task = _TASK_METRICS[name]
    raise ModelError(f"evaluation.metric = {name!r} is for the task {task!r}: the recipe has no [{task}] section")


def _describe_outputs(recipe: Recipe, outputs: Mapping[str, Shape]) -> TaskOutputs | None:
    spec, image = resolve_postprocessing(recipe, outputs), recipe.image
    if not isinstance(spec, Detection) or image is None:
        return None
    return TaskOutputs(spec, tuple(outputs), (image.height, image.width), load_priors(recipe))


def _count_classes(recipe: Recipe, outputs: Mapping[str, Shape]) -> int | None:
    """Return how many classes a classifier tells apart; None for other tasks, and where the file leaves it open."""
    if recipe.model.task != CLASSIFICATION:
        return None
    shapes = [list(shape) for shape in outputs.values()]
    if len(shapes) != 1 or len(shapes[0]) != _MATRIX_RANK:
        raise ModelError(
            f"model gives outputs of shape {', '.join(map(str, shapes))}: the task {CLASSIFICATION!r} needs one of "
            "shape [1, classes]; set model.task to another name"
        )
    classes, labels = shapes[0][1], len(recipe.model.labels)
    if classes < 0:
        return labels or None
    if labels and labels != classes:
        raise ModelError(f"model.labels has {labels} entries: the model gives {classes} scores")
    return classes


def _check_image(image: ImagePreprocessing, inputs: Sequence[TensorSpec]) -> None:
    """An image becomes the only input, or the one that the recipe names."""
    described = [spec for spec in inputs if len(inputs) == 1 or spec.name == image.input]
    if not described:
        raise ModelError(f"image.input = {image.input!r}: the model takes {', '.join(spec.name for spec in inputs)}")
    plane = (image.height, image.width)
    shape = (1, image.channels, *plane) if image.layout == "NCHW" else (1, *plane, image.channels)
    if not shape_matches(shape, described[0].shape):
        raise ModelError(
            f"image gives {list(shape)}: the model takes {list(described[0].shape)} as {described[0].name!r}"
        )


def _load_dataset(recipe: Recipe, what: _Part, *, classes: int | None) -> Dataset:
    source: DataSource = getattr(recipe.data, what)
    specs = recipe.model.specs if recipe.model.inputs else ()
    loaded = load_source(source, image=recipe.image, labels=recipe.model.labels, what=what, specs=specs)
    check_fits(loaded, specs=recipe.model.specs, source=f"{what} data")
    _check_labels(recipe, loaded.labels, classes=classes, source=f"{what} data")
    return loaded


def _load_samples(recipe: Recipe, session: Session, what: _Part, *, classes: int | None) -> Samples:
    source: DataSource = getattr(recipe.data, what)
    loaded = load_samples(source, session.inputs, image=recipe.image, labels=recipe.model.labels, what=what)
    _check_labels(recipe, loaded.labels, classes=classes, source=f"{what} data")
    return loaded


def _check_labels(recipe: Recipe, labels: Labels | None, *, classes: int | None, source: str) -> None:
    if labels is None:
        return
    named = len(recipe.model.labels) or None
    if recipe.model.task == CLASSIFICATION:
        check_class_labels(labels, classes=classes, source=source)
    elif recipe.detection is not None and recipe.image is not None:
        check_objects(labels, size=(recipe.image.height, recipe.image.width), classes=named, source=source)
    elif recipe.segmentation is not None:
        check_masks(labels, classes=named, source=source)
    elif recipe.anomaly is not None:
        check_verdicts(labels, source=source)
