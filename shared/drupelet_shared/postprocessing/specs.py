"""The post-processing that a manifest describes: classification, detection, segmentation or anomalies."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

OutputName = Annotated[str, Field(min_length=1, max_length=256)]
Activation = Literal["none", "softmax", "sigmoid"]
DetectionForm = Literal["yolov5", "yolov8", "yolov8-dfl", "boxes-scores", "ssd", "nms"]
BoxFormat = Literal["xyxy", "yxyx", "xywh", "cxcywh"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Stride = Annotated[int, Field(gt=0, le=4096)]
Positive = Annotated[float, Field(gt=0)]

# How many outputs each form has.
_OUTPUT_COUNTS: dict[DetectionForm, tuple[int, ...]] = {
    "yolov5": (1,),
    "yolov8": (1,),
    "yolov8-dfl": (1, 2, 3, 4, 5, 6, 7, 8),
    "boxes-scores": (2,),
    "ssd": (2,),
    "nms": (1, 3, 4),
}


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Classification(_Spec):
    """Scores of one output, shape (batch, classes), become the labelled top k.

    Attributes:
        kind: Which post-processing this is.
        output: The output that has the scores.
        top_k: Most labels in an answer.
        activation: What turns scores into probabilities.
    """

    kind: Literal["classification"] = "classification"
    output: str
    top_k: Annotated[int, Field(gt=0, le=1000)] = 5
    activation: Activation = "softmax"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that are read."""
        return (self.output,)


class Detection(_Spec):
    """The outputs of a detector become boxes in pixels of the image that was sent, with scores and labels.

    Attributes:
        kind: Which post-processing this is.
        form: What the outputs hold; the package format (section 3) describes each form.
        outputs: Their names, in the form's order.
        transposed: Whether the last two dimensions of a (1, N, ...) or (1, ..., N) output are exchanged.
        box_format: The four numbers of a box: corners, corner and size, or centre and size. The YOLO forms and "ssd"
            imply theirs.
        box_unit: Pixels of the model's input, or fractions of its width and height; likewise.
        activation: What turns class scores into probabilities.
        background: The class that stands for no object; None if there is none.
        strides: Of "yolov8-dfl", in the order of the outputs.
        bins: Of "yolov8-dfl": values in the distribution of each side's distance.
        priors: Of "ssd": the package's NPY file of prior boxes (N, 4): centre and size as fractions.
        variances: Of "ssd": the scale of the offsets of centre and size.
        score_threshold: The lowest score in an answer.
        iou_threshold: A box that overlaps a better one of its class by more is suppressed; 1 suppresses none.
        class_aware: Whether boxes of different classes never suppress each other.
        max_detections: Most boxes in an answer.
    """

    kind: Literal["detection"] = "detection"
    form: DetectionForm
    outputs: Annotated[tuple[OutputName, ...], Field(min_length=1)]
    transposed: bool = False
    box_format: BoxFormat = "xyxy"
    box_unit: Literal["pixels", "fraction"] = "pixels"
    activation: Activation = "none"
    background: Annotated[int, Field(ge=0)] | None = None
    strides: Annotated[tuple[Stride, ...], Field(min_length=1, max_length=8)] = (8, 16, 32)
    bins: Annotated[int, Field(gt=1, le=64)] = 16
    priors: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    variances: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=2)] = (0.1, 0.2)
    score_threshold: Fraction = 0.25
    iou_threshold: Fraction = 0.45
    class_aware: bool = True
    max_detections: Annotated[int, Field(gt=0, le=1000)] = 100

    @model_validator(mode="after")
    def _outputs_fit_form(self) -> Self:
        count, allowed = len(self.outputs), _OUTPUT_COUNTS[self.form]
        if count not in allowed:
            raise ValueError(f"form {self.form!r} has {count} outputs: expected {' or '.join(map(str, allowed))}")
        if self.form == "yolov5" and self.activation == "softmax":
            raise ValueError("form 'yolov5' has independent scores: expected activation 'none' or 'sigmoid'")
        if self.form == "yolov8-dfl" and count not in {1, len(self.strides)}:
            raise ValueError(f"form 'yolov8-dfl' has {count} outputs for {len(self.strides)} strides")
        if (self.form == "ssd") != (self.priors is not None):
            raise ValueError("form 'ssd' needs priors, and no other form takes them")
        return self


class Segmentation(_Spec):
    """Scores or classes of each pixel become a class map of the size of the image that was sent.

    Attributes:
        kind: Which post-processing this is.
        output: Scores (1, classes, height, width), or one score (1, 1, height, width) for "object or not", or class
            indices (1, height, width) or (1, 1, height, width).
        layout: Whether the classes come before or after height and width.
        values: Scores, whose highest is the class; or the classes themselves.
        threshold: Of a single score: from which on a pixel has class 1 and not 0, after the activation.
        activation: Of a single score.
    """

    kind: Literal["segmentation"] = "segmentation"
    output: str
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    values: Literal["scores", "classes"] = "scores"
    threshold: Fraction = 0.5
    activation: Literal["none", "sigmoid"] = "sigmoid"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that are read."""
        return (self.output,)


class Anomaly(_Spec):
    """A score becomes a verdict: a sample whose score exceeds the threshold is an anomaly.

    Attributes:
        kind: Which post-processing this is.
        output: The output that has the score, or a score for each part of the sample.
        threshold: The highest score of a normal sample.
    """

    kind: Literal["anomaly"] = "anomaly"
    output: str
    threshold: float

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that are read."""
        return (self.output,)


Postprocessing = Annotated[Classification | Detection | Segmentation | Anomaly, Field(discriminator="kind")]
