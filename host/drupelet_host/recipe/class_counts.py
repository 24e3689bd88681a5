"""Whether the outputs of a detector or a segmentation model have as many classes as there are labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drupelet_host.errors import ModelError
from drupelet_shared.postprocessing.specs import Detection, Segmentation

_BOX, _OBJECTNESS = 4, 1
_ROWS_RANK, _PLANES_RANK, _MAPS_RANK = 2, 3, 4


def check_detector(detection: Detection, outputs: Mapping[str, Sequence[int]], *, labels: int) -> None:
    """Check the shapes of a detector's outputs; dimensions that are not known yet pass.

    Args:
        detection: What the outputs hold.
        outputs: The shapes of the outputs by name; -1 is a variable dimension.
        labels: How many labels the recipe states; 0 if it states none.

    Raises:
        ModelError: An output has no columns for classes or boxes, or another number of classes than there are labels.
    """
    if detection.form == "nms":
        return
    columns = _count_columns(detection, outputs, transposed=detection.transposed)
    if columns is None:
        return
    name = detection.outputs[-1]
    if _suits(columns, labels, detection):
        return
    other = _count_columns(detection, outputs, transposed=not detection.transposed)
    exchanged = other is not None and _suits(other, labels, detection)
    advice = (
        f"set detection.transposed = {str(not detection.transposed).lower()}"
        if exchanged
        else "state one label for each class in its order, or another detection.form"
    )
    raise ModelError(
        f"output {name!r} has shape {list(outputs[name])}: as form {detection.form!r} that is {max(columns, 0)} "
        f"classes, and model.labels has {labels}; {advice}"
    )


def check_segmentation(segmentation: Segmentation, shape: Sequence[int], *, labels: int) -> None:
    """Check the shape of a segmentation model's scores; dimensions that are not known yet pass.

    Args:
        segmentation: What the output holds.
        shape: The output's shape; -1 is a variable dimension.
        labels: How many labels the recipe states; 0 if it states none.

    Raises:
        ModelError: The output has another number of classes than there are labels.
    """
    if segmentation.values == "classes" or len(shape) not in {_PLANES_RANK, _MAPS_RANK} or not labels:
        return
    channels = shape[-3] if segmentation.layout == "NCHW" else shape[-1]
    # One score tells an object from none.
    expected = {1, 2} if channels == 1 else {channels}
    if channels > 0 and labels not in expected:
        raise ModelError(
            f"output {segmentation.output!r} has shape {list(shape)}: in layout {segmentation.layout} that is "
            f"{channels} classes, and model.labels has {labels}; state one label for each class in its order, or "
            "another segmentation.layout"
        )


def _suits(columns: int, labels: int, detection: Detection) -> bool:
    if columns < 1:
        return False
    # The background may go without a label where it comes last.
    unlabelled = 1 if detection.background == columns - 1 else 0
    return labels in {0, columns, columns - unlabelled}


def _count_columns(detection: Detection, outputs: Mapping[str, Sequence[int]], *, transposed: bool) -> int | None:
    """Return how many class columns the outputs have; None where that is not known."""
    shape = outputs[detection.outputs[-1]]
    if len(shape) < _ROWS_RANK:
        return None
    channels_first = detection.form in {"yolov8", "yolov8-dfl"}
    if detection.form == "yolov8-dfl" and len(shape) == _MAPS_RANK:
        columns = shape[1]
    else:
        columns = shape[-2] if channels_first != transposed else shape[-1]
    before = {"yolov5": _BOX + _OBJECTNESS, "yolov8": _BOX, "yolov8-dfl": _BOX * detection.bins}
    return None if columns < 0 else columns - before.get(detection.form, 0)
