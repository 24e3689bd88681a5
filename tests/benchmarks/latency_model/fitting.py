"""Fits the latency table to what probes took, and finds its error on probes that it has not seen."""

from __future__ import annotations

import json
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency_model.collecting import Record
from benchmarks.latency_model.networks import INPUT, Network
from benchmarks.latency_model.probes import probe
from drupelet_host.latency.modelled.exact import CLOCK_HZ
from drupelet_host.latency.modelled.layers import EngineName, LayerKind, LayerShape, Precision
from drupelet_host.latency.modelled.table import Accuracy, Formula, LatencyTable, find_formula, nearness

ACCURACY = Path(__file__).with_name("accuracy.toml")
_US = 1e6
# Below this a layer's time is that of calling it, and its share of a network is nothing.
_LEAST_US = 2.0
_FOLDS = 5
_LEAST_LAYERS = 3
_LARGEST_DEVIATION = 1.5
# The variance of layers of the same sizes, with that of the deviations as the unit.
_NOISE = 0.2

Key = tuple[EngineName, Precision]


@dataclass(frozen=True, slots=True)
class Sample:
    """A layer and what it took, in microseconds; `seed` is its probe's."""

    seed: int
    shape: LayerShape
    microseconds: float


def shapes_of(network: Network) -> list[LayerShape]:
    """Return a network's layers as the table knows them."""
    outputs = network.shapes()
    shapes = []
    for position, (layer, (channels, height, width)) in enumerate(zip(network.layers, outputs, strict=True)):
        sources = [network.shape if source == INPUT else outputs[source] for source in layer.inputs]
        _, in_height, in_width = sources[0]
        kind: LayerKind = layer.kind if layer.kind != "activation" else _activation(layer.activation)
        incoming = sum(source[0] for source in sources) if kind == "concat" else sources[0][0]
        pixels = in_height * in_width
        if kind == "linear":
            incoming, pixels = incoming * pixels, 1
        shapes.append(
            LayerShape(
                kind=kind,
                in_channels=incoming,
                out_channels=channels,
                in_pixels=pixels,
                out_pixels=height * width,
                window=pixels if kind == "global_pool" else layer.kernel**2,
                stride=layer.stride,
                groups=layer.groups,
                follows_convolution=any(_is_sum(network, source) for source in layer.inputs),
                name=f"n{position}",
            )
        )
    return shapes


def _is_sum(network: Network, position: int) -> bool:
    """Whether a layer is a convolution whose sums are not passed through an activation."""
    layer = network.layers[position] if position != INPUT else None
    return layer is not None and layer.kind == "convolution" and layer.activation == "none"


def _activation(name: str) -> LayerKind:
    known: dict[str, LayerKind] = {"silu": "silu", "hardswish": "hardswish", "sigmoid": "sigmoid"}
    return known.get(name, "other")


def read_samples(records: Iterable[Record], *, macs: float, scale: float) -> dict[Key, list[Sample]]:
    """Return the layers of all records by engine and precision; what belongs to no layer is a sample "other".

    Args:
        records: Of probes.
        macs: As they were collected.
        scale: What the timing model is multiplied by.
    """
    samples: dict[Key, list[Sample]] = defaultdict(list)
    for record in records:
        if record.measured is None:
            continue
        key: Key = record.engine, "int8" if record.int8 else "float32"
        shapes = shapes_of(probe(record.seed, macs=macs))
        micros = [cycles / CLOCK_HZ * _US * scale for cycles in record.measured.layers]
        samples[key] += [Sample(record.seed, shape, max(time, 0.1)) for shape, time in zip(shapes, micros, strict=True)]
    return samples


def fit(samples: Sequence[Sample], *, rest_us: float) -> dict[str, Formula]:
    """Fit a formula to each kind of layer.

    Args:
        samples: Layers of one engine and precision.
        rest_us: What an inference takes beside its layers.
    """
    by_category: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_category[sample.shape.category].append(sample)
    formulas = {category: _fit_one(found) for category, found in by_category.items() if len(found) >= _LEAST_LAYERS}
    empty = np.zeros((0, 0))
    return formulas | {"inference": Formula(np.array([rest_us]), empty, np.zeros(0))}


def _fit_one(samples: Sequence[Sample]) -> Formula:
    features = np.array([sample.shape.features for sample in samples])
    times = np.array([sample.microseconds for sample in samples])
    # Relative errors count, except those of layers that are nothing but a call.
    weights = _non_negative(features / (times + _LEAST_US)[:, None], times / (times + _LEAST_US))
    predicted = np.maximum(features @ weights, 0.05)
    deviations = np.clip(np.log(times / predicted), -_LARGEST_DEVIATION, _LARGEST_DEVIATION)
    # As the file has them: what is solved for must hold for these.
    positions = np.array([sample.shape.position for sample in samples]).round(2)
    kernel = np.array([nearness(positions, position) for position in positions])
    # A short layer's time depends on what ran before it.
    noise = _NOISE * (1 + 5 * _LEAST_US / times)
    return Formula(weights, positions, np.linalg.solve(kernel + np.diag(noise), deviations))


def _non_negative(features: Any, values: Any) -> Any:  # noqa: ANN401 - arrays
    """Least squares with coefficients of at least 0, by leaving out the most negative one at a time."""
    active = list(range(features.shape[1]))
    # Sizes differ by orders of magnitude; a touch of ridge keeps those that move together apart.
    units = np.maximum(np.abs(features).max(axis=0), 1e-30)
    while True:
        scaled = features[:, active] / units[active]
        normal = scaled.T @ scaled + 1e-6 * len(values) * np.eye(len(active))
        found = np.linalg.solve(normal, scaled.T @ values)
        if found.min() >= 0 or len(active) == 1:
            break
        active.pop(int(found.argmin()))
    weights = np.zeros(features.shape[1])
    weights[active] = np.maximum(found, 0) / units[active]
    return weights


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The table against the timing model on probes that it was not fitted to.

    Attributes:
        network_errors: Of whole probes, signed, as fractions of what the timing model gives.
        layer_errors: Of their layers of at least 20 microseconds.
    """

    network_errors: tuple[float, ...]
    layer_errors: tuple[float, ...]

    @property
    def network_error(self) -> float:
        """The mean absolute error of a whole network."""
        return float(np.mean(np.abs(self.network_errors)))

    @property
    def layer_error(self) -> float:
        """The median absolute error of a layer."""
        return float(np.median(np.abs(self.layer_errors)))


def hold_out(samples: Sequence[Sample]) -> HeldOut:
    """Fit to four fifths of the probes and predict the rest, five times."""
    networks, layers = [], []
    for fold in range(_FOLDS):
        formulas = fit([sample for sample in samples if sample.seed % _FOLDS != fold], rest_us=0)
        totals: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for sample in samples:
            if sample.seed % _FOLDS == fold:
                predicted = find_formula(formulas, sample.shape).microseconds(sample.shape)
                totals[sample.seed][0] += predicted
                totals[sample.seed][1] += sample.microseconds
                if sample.microseconds >= 10 * _LEAST_US:
                    layers.append(predicted / sample.microseconds - 1)
        networks += [predicted / taken - 1 for predicted, taken in totals.values()]
    return HeldOut(tuple(networks), tuple(layers))


def read_accuracy() -> dict[str, Any]:
    """Return what accuracy.toml states."""
    return tomllib.loads(ACCURACY.read_text(encoding="utf-8"))


def make_table(
    records: Sequence[Record], *, macs: float, versions: Mapping[str, str], target: str = "raspberry_pi_4"
) -> tuple[LatencyTable, dict[Key, HeldOut]]:
    """Fit everything.

    Args:
        records: Of probes.
        macs: As they were collected.
        versions: Of the engines that ran.
        target: Its name.

    Returns:
        The table, and its error on probes it has not seen by engine and precision.
    """
    stated = read_accuracy()
    samples = read_samples(records, macs=macs, scale=stated["scale"])
    formulas, accuracies, errors = {}, {}, {}
    for entry in stated["engine"]:
        key: Key = entry["name"], entry["precision"]
        rests = [
            record.measured.rest
            for record in records
            if record.measured and record.engine == key[0] and record.int8 == (key[1] == "int8")
        ]
        formulas[key] = fit(samples[key], rest_us=float(np.median(rests)) / CLOCK_HZ * _US * stated["scale"])
        errors[key] = hold_out(samples[key])
        accuracies[key] = Accuracy(entry["error"], round(errors[key].network_error, 3), entry["validated"])
    low, high = stated["threads_4"]
    source = "Cortex-A72 timing model of deploy/emulator, one thread at 1.8 GHz"
    table = LatencyTable(
        target=target,
        source=source,
        versions=versions,
        formulas=formulas,
        accuracies=accuracies,
        threads_4=(low, high),
        scale=stated["scale"],
    )
    return table, errors


def write_table(table: LatencyTable, path: Path) -> None:
    """Write the data file that the compiler ships."""
    engines = [
        {
            "engine": engine,
            "precision": precision,
            "accuracy": {
                name: getattr(table.accuracies[engine, precision], name)
                for name in ("model_error", "table_error", "validated")
            },
            "formulas": {name: _encode(formula) for name, formula in sorted(formulas.items())},
        }
        for (engine, precision), formulas in table.formulas.items()
    ]
    values = {
        "target": table.target,
        "source": table.source,
        "versions": dict(table.versions),
        "threads_4": list(table.threads_4),
        "scale": table.scale,
        "engines": engines,
    }
    path.write_text(json.dumps(values, separators=(",", ":")) + "\n", encoding="utf-8")


def _encode(formula: Formula) -> dict[str, Any]:
    return {
        "weights": [float(f"{weight:.5g}") for weight in formula.weights],
        "positions": [[round(float(value), 2) for value in position] for position in formula.positions],
        "coefficients": [float(f"{value:.4g}") for value in formula.coefficients],
    }
