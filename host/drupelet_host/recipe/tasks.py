"""[evaluation], [detection], [segmentation] and [anomaly] of the recipe: the metric, and what the outputs mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo

from drupelet_host.recipe.sources import ExistingFile, Factory, Section, existing_file
from drupelet_shared.postprocessing.specs import (
    Activation,
    BoxFormat,
    DetectionForm,
    Fraction,
    OutputName,
    Positive,
    Stride,
)

DETECTION, SEGMENTATION, ANOMALY = "detection", "segmentation", "anomaly"


class EvaluationSection(Section):
    """[evaluation]: the metric of models.

    Attributes:
        metric: "top1" is the accuracy and needs labels; "agreement" is the fraction of samples that get the same class
            as from the original model; "fidelity" is one minus the relative error of all outputs against the
            original's. "map50" and "map50_95" are a detector's mean average precision, "mean_iou" is a segmentation
            model's mean intersection over union, "balanced_accuracy" the mean share of normal samples and of anomalies
            that are told apart, and these four need labels. "file.py:function" is your own function, called with the
            outputs of all samples (dictionaries of arrays) and the labels. "auto" is "top1", "map50_95", "mean_iou" or
            "balanced_accuracy" with labels, by the task; without labels "agreement" for a classifier, else "fidelity".
    """

    metric: (
        Literal["auto", "top1", "agreement", "fidelity", "map50", "map50_95", "mean_iou", "balanced_accuracy"] | Factory
    ) = "auto"


class DetectionSection(Section):
    """[detection]: how a detector's outputs become boxes; the package format describes the forms.

    Attributes:
        form: What the outputs hold; "auto" finds out from one output's shape and the number of `model.labels`.
        outputs: Their names, in the form's order; without it the model's outputs in its order.
        transposed: Whether the last two dimensions of an output are exchanged; "auto" finds it out.
        box_format: Of "boxes-scores" and "nms": corners, corner and size, or centre and size.
        box_unit: Of "boxes-scores" and "nms": pixels of the model's input, or fractions of its width and height.
        activation: What turns class scores into probabilities; without it "sigmoid" for "yolov8-dfl", else "none".
        background: The class that stands for no object.
        strides: Of "yolov8-dfl", in the order of the outputs.
        bins: Of "yolov8-dfl": values in the distribution of each side's distance.
        priors: Of "ssd": an NPY file of prior boxes (n, 4): centre and size as fractions.
        variances: Of "ssd": the scale of the offsets of centre and size.
        score_threshold: The lowest score in an answer; the metric counts lower ones too.
        iou_threshold: A box that overlaps a better one of its class by more is suppressed; 1 suppresses none.
        class_aware: Whether boxes of different classes never suppress each other.
        max_detections: Most boxes in an answer.
    """

    form: Literal["auto"] | DetectionForm = "auto"
    outputs: tuple[OutputName, ...] = ()
    transposed: bool = False
    box_format: BoxFormat = "xyxy"
    box_unit: Literal["pixels", "fraction"] = "pixels"
    activation: Activation | None = None
    background: Annotated[int, Field(ge=0)] | None = None
    strides: Annotated[tuple[Stride, ...], Field(min_length=1, max_length=8)] = (8, 16, 32)
    bins: Annotated[int, Field(gt=1, le=64)] = 16
    priors: ExistingFile | None = None
    variances: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=2)] = (0.1, 0.2)
    score_threshold: Fraction = 0.25
    iou_threshold: Fraction = 0.45
    class_aware: bool = True
    max_detections: Annotated[int, Field(gt=0, le=1000)] = 100


class SegmentationSection(Section):
    """[segmentation]: how a segmentation model's output becomes a class map.

    Attributes:
        output: Its name; the model's only output by default.
        layout: Whether the classes come before or after height and width.
        values: Scores, whose highest is the class; or the classes themselves.
        threshold: Of a single score: from which on a pixel has class 1 and not 0, after the activation.
        activation: Of a single score.
    """

    output: OutputName | None = None
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    values: Literal["scores", "classes"] = "scores"
    threshold: Fraction = 0.5
    activation: Literal["none", "sigmoid"] = "sigmoid"


def _number_from_file(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    path = existing_file(Path(value), info)
    try:
        return float(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: expected one number in the file") from error


class AnomalySection(Section):
    """[anomaly]: from which score on a sample is an anomaly.

    Attributes:
        output: The output that has the score; the model's only output by default.
        threshold: The highest score of a normal sample: a number, or a file that holds it, as training writes it.
    """

    output: OutputName | None = None
    threshold: Annotated[
        float, Field(allow_inf_nan=False), BeforeValidator(_number_from_file, json_schema_input_type=float | str)
    ]
