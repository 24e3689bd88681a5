"""The answer to a request: a model's outputs as a person can use them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drupelet_shared.engines.base import Array, Tensors
from drupelet_shared.postprocessing.anomaly import judge
from drupelet_shared.postprocessing.classification import labelled_top_k
from drupelet_shared.postprocessing.detection import detect, labelled_boxes
from drupelet_shared.postprocessing.geometry import ImageGeometry
from drupelet_shared.postprocessing.segmentation import class_map, labelled_class_map
from drupelet_shared.postprocessing.specs import Anomaly, Classification, Detection, Segmentation


@dataclass(frozen=True, slots=True)
class Answerer:
    """Converts a model's outputs to the answer to an image or to tensors.

    Attributes:
        postprocessing: What the outputs mean.
        labels: The label of each class; empty if the package has none.
        priors: The prior boxes (n, 4) of a detector of form "ssd".
    """

    postprocessing: Classification | Detection | Segmentation | Anomaly
    labels: Sequence[str] = ()
    priors: Array | None = None

    def answer(self, outputs: Tensors, geometry: ImageGeometry | None) -> dict[str, Array]:
        """Convert the outputs for one request.

        Args:
            outputs: The model's outputs by name.
            geometry: How the image was fitted into the model's input; None where tensors were sent.

        Returns:
            The tensors of the answer by name; tensors are answered with the outputs, except by a verdict.

        Raises:
            InferenceFailedError: The outputs are not what the post-processing says.
        """
        spec = self.postprocessing
        if isinstance(spec, Anomaly):
            return judge(outputs, spec)
        if geometry is None:
            return dict(outputs)
        if isinstance(spec, Classification):
            return labelled_top_k(outputs[spec.output], spec, labels=self.labels)
        if isinstance(spec, Segmentation):
            return labelled_class_map(class_map(outputs, spec), geometry, labels=self.labels)
        size = (geometry.y.tensor_size, geometry.x.tensor_size)
        return labelled_boxes(detect(outputs, spec, size=size, priors=self.priors), geometry, labels=self.labels)

    @property
    def answers_in_binary(self) -> bool:
        """Whether the answer is too large for JSON: a class map has a value for each pixel."""
        return isinstance(self.postprocessing, Segmentation)


def read_priors(content: bytes) -> Array:
    """Read an NPY file of prior boxes.

    Raises:
        ValueError: It is no NPY file, or its shape is not (n, 4).
    """
    priors: Array = np.load(io.BytesIO(content), allow_pickle=False)
    if priors.ndim != 2 or priors.shape[1] != 4:  # noqa: PLR2004 - (n, 4)
        raise ValueError(f"priors have shape {list(priors.shape)}: expected (n, 4)")
    return priors.astype(np.float32)
