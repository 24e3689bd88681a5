"""What a model's outputs mean to its task, for losses that weigh what the task reads of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from drupelet_shared.engines.base import Array
from drupelet_shared.postprocessing.specs import Detection


@dataclass(frozen=True, slots=True)
class TaskOutputs:
    """The outputs of a detector as its post-processing reads them.

    Attributes:
        detection: What they hold.
        names: The names of all outputs, in the order in which the module returns them.
        size: Height and width of the model's input, which boxes are in pixels of.
        priors: The prior boxes (n, 4) of form "ssd".
    """

    detection: Detection
    names: tuple[str, ...]
    size: tuple[int, int]
    priors: Array | None = field(default=None, repr=False)
