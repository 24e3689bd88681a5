from __future__ import annotations

from typing import Any

import pytest

from drupelet_host.errors import ModelError
from drupelet_host.recipe.class_counts import check_detector, check_segmentation
from drupelet_shared.postprocessing.specs import Detection, Segmentation

# Shapes with three classes.
FITTING: list[tuple[dict[str, Any], dict[str, list[int]]]] = [
    ({"form": "yolov5"}, {"y": [1, 100, 8]}),
    ({"form": "yolov5", "transposed": True}, {"y": [1, 8, 100]}),
    ({"form": "yolov8"}, {"y": [1, 7, 100]}),
    ({"form": "yolov8", "transposed": True}, {"y": [1, 100, 7]}),
    ({"form": "yolov8-dfl", "bins": 16}, {"y": [1, 67, 84]}),
    ({"form": "yolov8-dfl", "strides": (8, 16)}, {"a": [1, 67, 8, 8], "b": [1, 67, 4, 4]}),
    ({"form": "boxes-scores"}, {"b": [1, 100, 4], "s": [1, 100, 3]}),
    ({"form": "ssd", "priors": "p", "background": 3}, {"b": [1, 100, 4], "s": [1, 100, 4]}),
]


@pytest.mark.parametrize(("spec", "shapes"), FITTING)
def test_as_many_labels_as_classes_fit_and_others_are_named(spec: dict[str, Any], shapes: dict[str, list[int]]) -> None:
    detection = Detection.model_validate({"outputs": tuple(shapes), **spec})
    check_detector(detection, shapes, labels=3)
    check_detector(detection, shapes, labels=0)
    for labels in (2, 80):
        with pytest.raises(ModelError, match=rf"classes, and model.labels has {labels}; state one label for each"):
            check_detector(detection, shapes, labels=labels)


def test_columns_in_the_other_order_are_recognised() -> None:
    detection = Detection(form="yolov8", outputs=("y",))
    with pytest.raises(ModelError, match=r"8396 classes, and model.labels has 80; set detection.transposed = true"):
        check_detector(detection, {"y": [1, 8400, 84]}, labels=80)


def test_an_output_without_class_columns_is_named_even_without_labels() -> None:
    detection = Detection(form="yolov8-dfl", outputs=("y",))
    with pytest.raises(ModelError, match="that is 0 classes"):
        check_detector(detection, {"y": [1, 64, 84]}, labels=0)


def test_dimensions_that_are_not_known_pass() -> None:
    check_detector(Detection(form="yolov8", outputs=("y",)), {"y": [1, -1, -1]}, labels=3)
    check_detector(Detection(form="nms", outputs=("y",)), {"y": [1, 300, 6]}, labels=80)
    check_segmentation(Segmentation(output="y"), [1, -1, 8, 8], labels=3)


def test_a_segmentation_model_has_a_label_for_each_channel() -> None:
    check_segmentation(Segmentation(output="y"), [1, 3, 8, 8], labels=3)
    check_segmentation(Segmentation(output="y", layout="NHWC"), [1, 8, 8, 3], labels=3)
    check_segmentation(Segmentation(output="y", values="classes"), [1, 8, 8], labels=3)
    for labels in (1, 2):
        check_segmentation(Segmentation(output="y"), [1, 1, 8, 8], labels=labels)
    with pytest.raises(ModelError, match=r"in layout NCHW that is 8 classes, and model.labels has 3"):
        check_segmentation(Segmentation(output="y"), [1, 8, 8, 3], labels=3)
