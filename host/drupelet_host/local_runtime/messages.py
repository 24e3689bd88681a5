"""What the process that runs a model tells its parent; a request is a dict of arrays by input name.

They have a module of their own because a worker started with `python -m` is `__main__`, whose classes do not unpickle
elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from drupelet_shared.engines.base import Array
from drupelet_shared.tensors import TensorSpec


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded.

    Attributes:
        inputs: The inputs of the model.
        outputs: Its outputs.
        threads: The threads of the session.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    threads: int


@dataclass(frozen=True, slots=True)
class Result:
    """One inference's outputs by name."""

    outputs: dict[str, Array]


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong."""

    kind: Literal["memory", "load", "run"]
    text: str
