"""Mixed precision: the layers that cost most, or that int8 does not make faster on the target, stay in float."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import onnx

from drupelet_host.quantization.choice import Judge
from drupelet_host.quantization.mixed.gains import find_gains, find_work
from drupelet_host.quantization.mixed.losses import LayerLoss, measure_losses, write_float
from drupelet_host.quantization.mixed.search import LayerEvidence, LayerSearch
from drupelet_host.quantization.mixed.times import ModelTimes, time_layers
from drupelet_host.quantization.static import Calibrated, StaticSettings, write_static
from drupelet_host.recipe.target import Int8Gains

_FLOAT: Literal["float"] = "float"
_INT8: Literal["int8"] = "int8"


@dataclass(frozen=True, slots=True)
class LayerPrecision:
    """One row of the table: a layer, the evidence, and what came of it.

    Attributes:
        layer: What a person knows the layer by.
        op_type: Its main operator.
        loss: The score that is lost when this layer alone is int8.
        error: The difference that makes to the outputs, root mean square, relative.
        gain: How many times less work it is in int8 on the target, 1 where that is not known.
        float_ms: Its time in the float model, on the machine that measured.
        int8_ms: Its time in the int8 model there, which says nothing of another processor's int8.
        precision: "float" or "int8".
        reason: Why.
    """

    layer: str
    op_type: str
    loss: float
    error: float
    gain: float
    float_ms: float
    int8_ms: float
    precision: Literal["float", "int8"]
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """One model on the way: how many layers it has in float, and its score."""

    float_layers: int
    score: float


@dataclass(frozen=True, slots=True)
class MixedPrecision:
    """What the search found.

    Attributes:
        settings: Ready for `write_static`, with the layers to keep in float; all of them where int8 helps nowhere, and
            then there is no int8 model to write.
        rows: For each layer.
        steps: The models judged, the float one first.
        score: The score of the result.
        met: Whether that reaches the limit.
    """

    settings: StaticSettings
    rows: tuple[LayerPrecision, ...]
    steps: tuple[Step, ...]
    score: float
    met: bool

    @property
    def has_int8(self) -> bool:
        """Whether any layer is left in int8."""
        return any(row.precision == _INT8 for row in self.rows)


def mix_precision(
    calibrated: Calibrated,
    *,
    judge: Judge,
    lowest_score: float,
    settings: StaticSettings,
    gains: Int8Gains,
) -> MixedPrecision:
    """Choose the layers that stay in float, until the score is at least `lowest_score`.

    Each layer's loss is measured with it alone in int8. What int8 saves is counted: the layer's multiply-accumulates,
    less what the target's gain leaves of them. An int8 dot product on this machine would say nothing of a processor
    without, and times are never the same twice. Layers that are more work in int8 go to float first, where that is
    worth it. Then those go that give back most score for the work they cost, as few as will do; at last, what the limit
    does not need returns to int8.

    Args:
        calibrated: The float model with what calibration saw.
        judge: Scores a file, higher is better.
        lowest_score: What the result must reach.
        settings: How layers are quantized; its `keep_float` are float from the start.
        gains: How many times less work a kind of layer is in int8 on the target.

    Returns:
        The settings with the layers that stay in float, and how they were chosen.

    Raises:
        DataError: A calibration sample does not run.
        ExportError: The model has nothing to quantize.
    """
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        bench = _Bench(calibrated, judge, settings, Path(folder))
        evidence = _gather(bench, gains)
        search = LayerSearch(
            tuple(layer.name for layer in calibrated.layers),
            evidence.layers(),
            judge=bench.judge_without,
            lowest_score=lowest_score,
        )
        pinned = frozenset(name for name, found in evidence.losses.items() if not found.int8) | settings.keep_float
        slow = search.find_slow(pinned)
        costly = search.find_costly(pinned | slow)
        keep = pinned | slow | costly
        score = bench.judge_without(keep)
        reasons = {
            **dict.fromkeys(costly, "costs most of the score for the work it saves"),
            **dict.fromkeys(slow, "more work in int8 on the target"),
            **dict.fromkeys(pinned, "cannot be int8"),
            **dict.fromkeys(settings.keep_float, "asked for"),
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
    gains: Mapping[str, float]
    work: Mapping[str, float]
    float_times: ModelTimes
    int8_times: ModelTimes

    def layers(self) -> dict[str, LayerEvidence]:
        """Return what the search knows of each layer."""
        return {
            name: LayerEvidence(loss=found.loss, error=found.error, work=self.work[name], gain=self.gains[name])
            for name, found in self.losses.items()
        }

    def rows(self, calibrated: Calibrated, reasons: Mapping[str, str]) -> tuple[LayerPrecision, ...]:
        return tuple(
            LayerPrecision(
                layer=layer.label,
                op_type=layer.op_type,
                loss=self.losses[layer.name].loss,
                error=self.losses[layer.name].error,
                gain=self.gains[layer.name],
                float_ms=self.float_times.layers_ms[layer.name],
                int8_ms=self.int8_times.layers_ms[layer.name],
                precision=_FLOAT if layer.name in reasons else _INT8,
                reason=reasons.get(layer.name, "within the limit"),
            )
            for layer in calibrated.layers
        )


class _Bench:
    """Writes and judges one choice of layers, each once."""

    def __init__(self, calibrated: Calibrated, judge: Judge, settings: StaticSettings, folder: Path) -> None:
        self.calibrated = calibrated
        self.judge = judge
        self.settings = settings
        self.names = frozenset(layer.name for layer in calibrated.layers)
        self.steps: dict[frozenset[str], Step] = {}
        self._path = folder / "candidate.onnx"

    def judge_without(self, keep: frozenset[str]) -> float:
        """Return the score with these layers in float."""
        if keep not in self.steps:
            self._write(keep)
            self.steps[keep] = Step(len(keep & self.names), self.judge(self._path))
        return self.steps[keep].score

    def time(self, keep: frozenset[str]) -> dict[str, ModelTimes]:
        """Return the float model and one with these layers in float, in turns."""
        self._write(keep)
        models = {_FLOAT: self.calibrated.model, _INT8: onnx.load(self._path)}
        return time_layers(models, self.calibrated.layers, sample=self.calibrated.samples[0])

    def _write(self, keep: frozenset[str]) -> None:
        if keep >= self.names:
            write_float(self.calibrated, self._path)
        else:
            write_static(self.calibrated, self._path, settings=replace(self.settings, keep_float=keep))


def _gather(bench: _Bench, gains: Int8Gains) -> _Evidence:
    times = bench.time(bench.settings.keep_float)
    float_score = bench.judge_without(bench.names)
    losses = measure_losses(bench.calibrated, judge=bench.judge, settings=bench.settings, float_score=float_score)
    model, layers = bench.calibrated.model, bench.calibrated.layers
    found = find_gains(model, layers, gains)
    work = find_work(model, layers, bench.calibrated.histograms, samples=len(bench.calibrated.samples))
    return _Evidence(losses, found, work, times[_FLOAT], times[_INT8])
