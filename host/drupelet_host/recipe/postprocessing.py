"""What a model's outputs mean, from the recipe and the shapes of the outputs."""

from __future__ import annotations

from collections.abc import Mapping

from drupelet_host.errors import DataError, ModelError
from drupelet_host.recipe.class_counts import check_detector, check_segmentation
from drupelet_host.recipe.model import CLASSIFICATION
from drupelet_host.recipe.schema import Recipe
from drupelet_host.recipe.tasks import AnomalySection, DetectionSection, SegmentationSection
from drupelet_shared.engines.base import Array
from drupelet_shared.postprocessing.answer import read_priors
from drupelet_shared.postprocessing.specs import (
    Anomaly,
    Classification,
    Detection,
    DetectionForm,
    Postprocessing,
    Segmentation,
)

PRIORS_PATH = "priors.npy"
_TOP_K = 5
_BOX = 4
_SUPPRESSED_COLUMNS = 6
_ROWS_RANK = 3
Shapes = Mapping[str, tuple[int, ...]]


def resolve_postprocessing(recipe: Recipe, outputs: Shapes) -> Postprocessing | None:
    """Return the post-processing for the manifest.

    Args:
        recipe: The recipe.
        outputs: The shapes of the model's outputs by name, in its order; -1 is a variable dimension.

    Returns:
        None for a task that has no post-processing.

    Raises:
        ModelError: The recipe names an output that the model lacks, or the form of a detector cannot be found out.
    """
    if recipe.detection is not None:
        return _resolve_detection(recipe.detection, outputs, labels=len(recipe.model.labels))
    if recipe.segmentation is not None:
        return _resolve_segmentation(recipe.segmentation, outputs, labels=len(recipe.model.labels))
    if recipe.anomaly is not None:
        return _resolve_anomaly(recipe.anomaly, outputs)
    if recipe.model.task != CLASSIFICATION:
        return None
    ((name, shape),) = outputs.items()
    classes = shape[-1] if shape[-1] > 0 else len(recipe.model.labels)
    return Classification(output=name, top_k=min(_TOP_K, max(1, classes)))


def load_priors(recipe: Recipe) -> Array | None:
    """Read the prior boxes of a detector of form "ssd"; None for every other model.

    Raises:
        DataError: The file has no array of shape (n, 4).
    """
    if recipe.detection is None or recipe.detection.priors is None:
        return None
    path = recipe.detection.priors
    try:
        return read_priors(path.read_bytes())
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"detection.priors {path.name}: {error}") from error


def _resolve_detection(section: DetectionSection, outputs: Shapes, *, labels: int) -> Detection:
    names = section.outputs or tuple(outputs)
    _check_names("detection.outputs", names, outputs)
    form, transposed = section.form, section.transposed
    if form == "auto":
        form, transposed = _find_form({name: outputs[name] for name in names}, labels=labels)
    activation = section.activation or ("sigmoid" if form == "yolov8-dfl" else "none")
    settings = section.model_dump(exclude={"form", "outputs", "transposed", "activation", "priors"})
    try:
        detection = Detection(
            form=form,
            outputs=names,
            transposed=transposed,
            activation=activation,
            priors=None if section.priors is None else PRIORS_PATH,
            **settings,
        )
    except ValueError as error:  # pydantic's: the outputs do not fit the form
        raise ModelError(f"detection: {_describe(outputs)}: {error}") from error
    check_detector(detection, outputs, labels=labels)
    return detection


def _find_form(outputs: Shapes, *, labels: int) -> tuple[DetectionForm, bool]:
    """Return the form of a single output, and whether it is transposed."""
    shapes = list(outputs.values())
    if len(shapes) == 1 and len(shapes[0]) == _ROWS_RANK:
        _, middle, last = shapes[0]
        known: dict[tuple[DetectionForm, bool], bool] = {
            ("yolov8", False): bool(labels) and middle == _BOX + labels,
            ("yolov8", True): bool(labels) and last == _BOX + labels,
            ("yolov5", False): bool(labels) and last == _BOX + 1 + labels,
            ("yolov5", True): bool(labels) and middle == _BOX + 1 + labels,
            ("nms", False): last == _SUPPRESSED_COLUMNS,
        }
        matches = [form for form, fits in known.items() if fits]
        if len(matches) == 1:
            return matches[0]
    raise ModelError(
        f"detection.form: {_describe(outputs)} and model.labels has {labels}: more than one form fits, or none. "
        'Set detection.form, for example "yolov8"'
    )


def _resolve_segmentation(section: SegmentationSection, outputs: Shapes, *, labels: int) -> Segmentation:
    name = _choose_output("segmentation.output", section.output, outputs)
    segmentation = Segmentation(output=name, **section.model_dump(exclude={"output"}))
    check_segmentation(segmentation, outputs[name], labels=labels)
    return segmentation


def _resolve_anomaly(section: AnomalySection, outputs: Shapes) -> Anomaly:
    return Anomaly(output=_choose_output("anomaly.output", section.output, outputs), threshold=section.threshold)


def _choose_output(key: str, stated: str | None, outputs: Shapes) -> str:
    names = (stated,) if stated is not None else tuple(outputs)
    _check_names(key, names, outputs)
    if len(names) != 1:
        raise ModelError(f"{key}: {_describe(outputs)}: name one of them")
    return names[0]


def _check_names(key: str, names: tuple[str, ...], outputs: Shapes) -> None:
    unknown = [name for name in names if name not in outputs]
    if unknown:
        raise ModelError(f"{key} names {', '.join(map(repr, unknown))}: {_describe(outputs)}")


def _describe(outputs: Shapes) -> str:
    return "the model gives " + ", ".join(f"{name!r} {list(shape)}" for name, shape in outputs.items())
