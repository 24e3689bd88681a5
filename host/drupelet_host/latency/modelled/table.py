"""The table of layer latencies on a target: what the timing model gave for many layers, with a formula between them.

A layer's time is a weighted sum of its sizes, fitted to each engine, precision and kind of layer, times what layers of
the table that are alike took compared with that sum: a Gaussian process over the logarithms of the sizes (Rasmussen and
Williams, 2006, "Gaussian Processes for Machine Learning"). `tests/benchmarks/latency_model` makes the table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from drupelet_host.latency.modelled.layers import EngineName, LayerShape, Precision, as_run

# How far a layer of the table reaches, in doublings of the sizes.
_REACH = 2.5
# The logarithm of the largest factor on the weighted sum.
_LARGEST_DEVIATION = 1.5
# Layers that no formula was fitted to. Elementwise ones cost the time to read and write their values.
_SUBSTITUTES = {"grouped": "depthwise", "convolution_3x3": "convolution", "linear": "pointwise"}
# The layers measured have two, height and width.
_AXES = 2
_ELEMENTWISE = ("add", "multiply", "concat")

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Formula:
    """The time of one kind of layer in one engine and precision.

    Attributes:
        weights: Microseconds for each of `LayerShape.features`.
        positions: The layers measured, each as in `LayerShape.position`.
        coefficients: What each adds to the logarithm of the factor on the weighted sum, times how near it is.
    """

    weights: FloatArray
    positions: FloatArray
    coefficients: FloatArray

    def microseconds(self, shape: LayerShape) -> float:
        """Return the time of a layer."""
        base = float(np.dot(self.weights, shape.features))
        if not len(self.positions):
            return base
        deviation = float(nearness(self.positions, np.array(shape.position)) @ self.coefficients)
        return base * float(np.exp(np.clip(deviation, -_LARGEST_DEVIATION, _LARGEST_DEVIATION)))

    def covers(self, shape: LayerShape) -> bool:
        """Return whether each size of a layer is at most twice as large or as small as those that were measured."""
        if not len(self.positions):
            return False
        position = np.array(shape.position)
        low, high = self.positions.min(axis=0) - 1, self.positions.max(axis=0) + 1
        return bool((low <= position).all() and (position <= high).all())


def nearness(positions: FloatArray, position: FloatArray) -> FloatArray:
    """Return how near layers are to one, from 0 to 1.

    Args:
        positions: Of the layers, one a row.
        position: Of the one.
    """
    distances = np.square(positions - position).sum(axis=-1)
    near: FloatArray = np.exp(-distances / (2 * _REACH**2))
    return near


def find_formula(formulas: Mapping[str, Formula], shape: LayerShape) -> Formula:
    """Return the formula of a layer's category, or of the one that is most like it."""
    category = shape.category
    alike = (category, *([_SUBSTITUTES[category]] if category in _SUBSTITUTES else _ELEMENTWISE))
    return next(formulas[name] for name in alike if name in formulas)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How far an estimate may be off, as fractions of it.

    Attributes:
        model_error: Of the timing model against boards.
        table_error: Of the table against the timing model, whole networks.
        validated: Whether boards were compared in this engine and precision; otherwise the error is a judgement.
    """

    model_error: float
    table_error: float
    validated: bool

    @property
    def error(self) -> float:
        """Both errors together, which are independent."""
        return float(np.hypot(self.model_error, self.table_error))


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """What layers cost on one target.

    Attributes:
        target: Its name.
        source: How the table was made.
        versions: Of the engines that ran, by name.
        formulas: By engine, precision and category.
        accuracies: By engine and precision.
        threads_4: The least and the greatest factor of four threads on the time of one.
        scale: What the timing model's cycles were multiplied by, from comparison with boards.
        digest: The SHA-256 of the file.
    """

    target: str
    source: str
    versions: Mapping[str, str]
    formulas: Mapping[tuple[EngineName, Precision], Mapping[str, Formula]]
    accuracies: Mapping[tuple[EngineName, Precision], Accuracy]
    threads_4: tuple[float, float]
    scale: float
    digest: str = ""

    @property
    def label(self) -> str:
        """The target and the version of the table, for lineage and cache keys."""
        return f"{self.target} {self.digest[:12]}".rstrip()

    def overhead_ms(self, engine: EngineName, precision: Precision) -> float:
        """Return what one inference takes that belongs to no layer, in milliseconds.

        Args:
            engine: What runs it.
            precision: In float32 or static int8.
        """
        return float(self.formulas[engine, precision]["inference"].weights[0]) / 1000

    def layer_ms(self, shape: LayerShape, engine: EngineName, precision: Precision) -> float:
        """Look up a layer.

        Args:
            shape: The layer.
            engine: What runs it.
            precision: In float32 or static int8.

        Returns:
            The milliseconds at one thread.
        """
        return find_formula(self.formulas[engine, precision], shape).microseconds(shape) / 1000

    def covers(self, shape: LayerShape, engine: EngineName, precision: Precision) -> bool:
        """Return whether the table was made from layers like this one; what others take is extrapolated.

        Args:
            shape: The layer.
            engine: What runs it.
            precision: In float32 or static int8.
        """
        formula = self.formulas[engine, precision].get(shape.category)
        if formula is None or shape.axes != _AXES or shape.is_product:
            return False
        return formula.covers(shape)

    def network_ms(self, shapes: Sequence[LayerShape], engine: EngineName, precision: Precision) -> float:
        """Add up a whole network: its layers and what belongs to none.

        Args:
            shapes: Its layers.
            engine: What runs it.
            precision: In float32 or static int8.

        Returns:
            The milliseconds at one thread.
        """
        layers = sum(self.layer_ms(shape, engine, precision) for shape in as_run(shapes, engine, precision))
        return layers + self.overhead_ms(engine, precision)


@cache
def load_table(target: str) -> LatencyTable | None:
    """Return the table of a target; None if there is none, and its latencies are measured."""
    path = files("drupelet_host.latency.modelled").joinpath(f"{target}.json")
    if not path.is_file():
        return None
    content = path.read_bytes()
    values = json.loads(content)
    formulas: dict[tuple[EngineName, Precision], Mapping[str, Formula]] = {}
    accuracies: dict[tuple[EngineName, Precision], Accuracy] = {}
    for entry in values["engines"]:
        key = entry["engine"], entry["precision"]
        accuracies[key] = Accuracy(**entry["accuracy"])
        formulas[key] = {category: _formula(formula) for category, formula in entry["formulas"].items()}
    low, high = values["threads_4"]
    return LatencyTable(
        target=values["target"],
        source=values["source"],
        versions=values["versions"],
        formulas=formulas,
        accuracies=accuracies,
        threads_4=(low, high),
        scale=values["scale"],
        digest=hashlib.sha256(content).hexdigest(),
    )


def _formula(values: Mapping[str, Sequence[float]]) -> Formula:
    arrays = (np.array(values[name], np.float64) for name in ("weights", "positions", "coefficients"))
    return Formula(*arrays)
