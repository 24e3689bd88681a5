"""Mixed precision: keeps layers in float that lose most accuracy in int8, or that int8 does not make faster."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import onnx

from drupelet_host.compute.backend import ComputeBackend
from drupelet_host.compute.in_process import IN_PROCESS
from drupelet_host.errors import ModelError
from drupelet_host.latency.machine import WORKSTATION, modelled_for
from drupelet_host.latency.modelled.table import LatencyTable
from drupelet_host.progress.pace import UNHURRIED, Pace
from drupelet_host.quantization.choice import Judge
from drupelet_host.quantization.mixed.losses import LayerLoss, measure_losses, write_float
from drupelet_host.quantization.mixed.search import LayerEvidence, LayerSearch, LayerTime
from drupelet_host.quantization.mixed.table_times import look_up_times
from drupelet_host.quantization.mixed.times import ModelTimes, time_layers
from drupelet_host.quantization.static import Calibrated, StaticSettings, write_static

log = logging.getLogger(__name__)

_FLOAT: Literal["float"] = "float"
_INT8: Literal["int8"] = "int8"
# Layers that only rename take no time in either precision.
_SHORTEST_MS = 1e-6


@dataclass(frozen=True, slots=True)
class LayerPrecision:
    """The precision chosen for one layer, with the measurements behind it.

    Attributes:
        layer: The layer's name for people.
        op_type: The operator of its main node.
        loss: The score lost when only this layer is int8.
        error: The relative root mean square error of the outputs when only this layer is int8.
        gain: The factor by which int8 makes it faster.
        float_ms: Its time in float.
        int8_ms: Its time in int8.
        source: Where the times come from, for people.
        precision: "float" or "int8".
        reason: Why the layer has this precision.
    """

    layer: str
    op_type: str
    loss: float
    error: float
    gain: float
    float_ms: float
    int8_ms: float
    source: str
    precision: Literal["float", "int8"]
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """One model of the search: its number of float layers, and its score."""

    float_layers: int
    score: float


@dataclass(frozen=True, slots=True)
class MixedPrecision:
    """The result of the search for mixed precision.

    Attributes:
        settings: The settings for `write_static` with the layers to keep in float. Where all layers stay in float,
            there is no int8 model to write.
        rows: The precision of each layer.
        steps: The models that were scored, the float model first.
        score: The score of the result.
        met: Whether the score reaches the limit.
    """

    settings: StaticSettings
    rows: tuple[LayerPrecision, ...]
    steps: tuple[Step, ...]
    score: float
    met: bool

    @property
    def has_int8(self) -> bool:
        """Whether any layer is int8."""
        return any(row.precision == _INT8 for row in self.rows)


def mix_precision(
    calibrated: Calibrated,
    *,
    judge: Judge,
    lowest_score: float,
    settings: StaticSettings,
    table: LatencyTable | None,
    pace: Pace = UNHURRIED,
    compute: ComputeBackend = IN_PROCESS,
) -> MixedPrecision:
    """Choose the layers that stay in float, until the score is at least `lowest_score`.

    The loss of each layer is measured with only that layer in int8. What int8 saves is looked up in the target's
    latency table; only without one, or for a model that it does not know, layers are timed on this machine. Layers
    that int8 slows down go to float first, if that saves enough. Next go the layers that recover most score for the
    time they cost, as few as reach the limit. Finally, layers return to int8 where the limit is met without them in
    float.

    Args:
        calibrated: The float model with its calibration histograms.
        judge: Scores a model file; higher is better.
        lowest_score: The lowest score allowed.
        settings: How layers are quantized; the layers in its `keep_float` stay in float.
        table: The target's latency table; None times layers on this machine.
        pace: Receives the progress, and limits the time.
        compute: What measures the layers.

    Returns:
        The settings with the layers that stay in float, and the measurements behind the choice.

    Raises:
        DataError: The model fails on a calibration sample.
        ExportError: The model has nothing to quantize.
    """
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        bench = _Bench(calibrated, judge, settings, Path(folder))
        evidence = _gather(bench, table, pace, compute)
        search = LayerSearch(
            tuple(layer.name for layer in calibrated.layers),
            evidence.layers(),
            judge=bench.judge_without,
            lowest_score=lowest_score,
            is_over=lambda: pace.is_over,
        )
        pinned = frozenset(name for name, loss in evidence.losses.items() if not loss.int8) | settings.keep_float
        slow = search.find_slow(pinned)
        costly = search.find_costly(pinned | slow)
        keep = pinned | slow | costly
        score = bench.judge_without(keep)
        reasons = {
            **dict.fromkeys(costly, "loses most score in int8 for the time that int8 saves"),
            **dict.fromkeys(slow, f"slower in int8: {evidence.source}"),
            **dict.fromkeys(pinned, "cannot be int8"),
            **dict.fromkeys(settings.keep_float, "kept in float by the recipe"),
        }
        return MixedPrecision(
            replace(settings, keep_float=keep),
            evidence.rows(calibrated, reasons),
            tuple(bench.steps.values()),
            score,
            met=score >= lowest_score,
        )


@dataclass(frozen=True, slots=True)
class _Evidence:
    losses: Mapping[str, LayerLoss]
    times: Mapping[str, LayerTime]
    source: str

    def layers(self) -> dict[str, LayerEvidence]:
        """Return the evidence on each layer for the search."""
        return {
            name: LayerEvidence(loss=loss.loss, error=loss.error, time=self.times[name])
            for name, loss in self.losses.items()
        }

    def rows(self, calibrated: Calibrated, reasons: Mapping[str, str]) -> tuple[LayerPrecision, ...]:
        return tuple(
            LayerPrecision(
                layer=layer.label,
                op_type=layer.op_type,
                loss=self.losses[layer.name].loss,
                error=self.losses[layer.name].error,
                gain=self.times[layer.name].float_ms / max(self.times[layer.name].int8_ms, _SHORTEST_MS),
                float_ms=self.times[layer.name].float_ms,
                int8_ms=self.times[layer.name].int8_ms,
                source=self.source,
                precision=_FLOAT if layer.name in reasons else _INT8,
                reason=reasons.get(layer.name, "within the limit"),
            )
            for layer in calibrated.layers
        )


class _Bench:
    """Writes and scores the models of the search, each choice of layers once."""

    def __init__(self, calibrated: Calibrated, judge: Judge, settings: StaticSettings, folder: Path) -> None:
        self.calibrated = calibrated
        self.judge = judge
        self.settings = settings
        self.names = frozenset(layer.name for layer in calibrated.layers)
        self.steps: dict[frozenset[str], Step] = {}
        self._path = folder / "candidate.onnx"

    def judge_without(self, keep: frozenset[str]) -> float:
        """Return the score of the model with these layers in float."""
        if keep not in self.steps:
            self._write(keep)
            self.steps[keep] = Step(len(keep & self.names), self.judge(self._path))
        return self.steps[keep].score

    def time(self, keep: frozenset[str]) -> dict[str, ModelTimes]:
        """Time the layers of the float model and of the model with these layers in float, in turns."""
        self._write(keep)
        models = {_FLOAT: self.calibrated.model, _INT8: onnx.load(self._path)}
        return time_layers(models, self.calibrated.layers, sample=self.calibrated.samples[0])

    def _write(self, keep: frozenset[str]) -> None:
        if keep >= self.names:
            write_float(self.calibrated, self._path)
        else:
            write_static(self.calibrated, self._path, settings=replace(self.settings, keep_float=keep))


def _gather(bench: _Bench, table: LatencyTable | None, pace: Pace, compute: ComputeBackend) -> _Evidence:
    times, source = _find_times(bench, table)
    float_score = bench.judge_without(bench.names)
    losses = measure_losses(
        bench.calibrated,
        judge=bench.judge,
        settings=bench.settings,
        float_score=float_score,
        pace=pace,
        compute=compute,
    )
    return _Evidence(losses, times, source)


def _find_times(bench: _Bench, table: LatencyTable | None) -> tuple[dict[str, LayerTime], str]:
    calibrated = bench.calibrated
    if table is not None:
        try:
            times = look_up_times(
                calibrated.model, calibrated.layers, table, sample=calibrated.samples[0], name=calibrated.name
            )
        except ModelError as error:
            log.debug("layers are timed on this machine reason=%s", error)
        else:
            return times, modelled_for(table.target)
    timed = bench.time(bench.settings.keep_float)
    times = {
        name: LayerTime(float_ms=float_ms, int8_ms=timed[_INT8].layers_ms[name])
        for name, float_ms in timed[_FLOAT].layers_ms.items()
    }
    return times, WORKSTATION
