"""Reports made up in every size, for the page that shows them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from drupelet_host.report.document import (
    CalibrationRow,
    CandidateRow,
    CheckRow,
    CurveRow,
    GroupRow,
    ModelRow,
    PrecisionRow,
    Report,
    StepRow,
    UnprunableRow,
)
from drupelet_shared.package.manifest import LineageRecord

FLOAT, INT8 = "ort-fp32", "ort-static-wi8-ai8"
MACHINE = "Intel(R) Xeon(R) Processor @ 2.70GHz (x86_64)"
_RATIOS = (0.0, 0.25, 0.5, 0.75)


def make_report(*, groups: int = 4, candidates: int = 0, steps: int = 0, **changes: object) -> Report:
    """Return a plausible report with that many rows; `changes` replace whole fields."""
    report = Report(
        name="garment-classifier",
        version="2.1.0",
        release=7,
        created=datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
        task="classification",
        metric="top1",
        samples=10_000,
        device="raspberry_pi_4",
        machine=MACHINE,
        threads=1,
        parameters_before=11_172_810,
        parameters_after=196_418,
        macs_before=1_814_073_344,
        macs_after=61_040_128,
        originals=(_model("original", 0.9312, 44_733_210, 41.83, 380_000_000),),
        variants=(
            _model(FLOAT, 0.9301, 802_104, 2.913, 96_000_000),
            _model(INT8, 0.9288, 238_411, 1.624, 91_000_000),
        ),
        packaged=(INT8, FLOAT),
        checks=tuple(check for variant in (FLOAT, INT8) for check in _checks(variant)),
        sensitivity=tuple(_curve(number) for number in range(groups)),
        groups=tuple(_group(number) for number in range(groups)),
        steps=tuple(_step(number) for number in range(steps)),
        frontier=tuple(row for number in range(candidates) for row in _candidates(number, last=candidates - 1)),
        lineage=_lineage(),
    )
    return report.model_copy(update=changes)


def make_full_report() -> Report:
    """Sixty groups, fifteen candidates, and every optional row."""
    return make_report(
        groups=60,
        candidates=15,
        notes=("The validation data both chose the candidate and measured it: expect a little less on new data.",),
        unprunable=tuple(
            UnprunableRow(layer=f"blocks.{number}.attention.qkv", reason="its heads are reshaped by a constant")
            for number in range(3)
        ),
        calibration=(
            CalibrationRow(method="minmax", score=0.9288, chosen=True, reason="the best; a tie goes to the simplest"),
            CalibrationRow(method="entropy", score=0.9271, chosen=False),
            CalibrationRow(method="percentile 99.99", score=0.9288, chosen=False),
        ),
        precisions=tuple(_precision(number) for number in range(62)),
        precision_source="modelled for raspberry_pi_4",
    )


def _model(name: str, metric: float, size_bytes: int, p50_ms: float, memory_bytes: int) -> ModelRow:
    return ModelRow(
        name=name,
        engine="onnxruntime",
        metric=metric,
        size_bytes=size_bytes,
        p50_ms=p50_ms,
        p99_ms=p50_ms * 1.31,
        peak_memory_bytes=memory_bytes,
    )


def _checks(variant: str) -> tuple[CheckRow, ...]:
    small = variant == INT8
    size, latency, drop = (238_411.0, 1.624 / 41.83, 0.0024) if small else (802_104.0, 2.913 / 41.83, 0.0011)
    return (
        CheckRow(constraint="max_metric_drop", variant=variant, limit=0.005, value=drop, met=True),
        CheckRow(constraint="max_size", variant=variant, limit=900_000.0, value=size, met=True),
        CheckRow(constraint="max_latency", variant=variant, limit=0.0714, value=latency, met=True),
        CheckRow(constraint="memory_limit", variant=variant, limit=120e6, value=91e6 if small else 96e6, met=True),
    )


def _name(number: int) -> str:
    return f"layer{number // 16 + 1}.{number // 4 % 4}.conv{number % 4 + 1}"


def _curve(number: int) -> CurveRow:
    weakness = 0.05 + 0.6 * ((number * 7) % 10) / 10
    points = tuple((ratio, round(0.9312 - weakness * ratio**2.5, 4)) for ratio in _RATIOS)
    robustness = sum(metric for _, metric in points[1:]) / 3 / points[0][1]
    return CurveRow(group=_name(number), robustness=robustness, points=points)


def _group(number: int) -> GroupRow:
    before = 64 * 2 ** min(number // 16, 3)
    after = before - before * ((number * 5) % 9) // 10 // 8 * 8
    return GroupRow(group=_name(number), channels_before=before, channels_after=after)


def _step(number: int) -> StepRow:
    kept = number % 3 != 2
    return StepRow(
        fraction=(number + 1) / 5,
        parameters=9_000_000 - 1_700_000 * number,
        metric=0.931 - 0.002 * number - (0 if kept else 0.02),
        kept=kept,
    )


def _candidates(number: int, *, last: int) -> tuple[CandidateRow, ...]:
    kept = number % 4 != 3 or number == last
    share = 0.7**number
    lost = 0.0003 * number + (0 if kept else 0.012 if number != 7 else 0.6)
    reason = (
        "kept: metric 0.9288, at least 0.9262" if kept else "rolled back: metric 0.9171 after recovery, below 0.9262"
    )
    return tuple(
        CandidateRow(
            candidate=number,
            variant=variant,
            metric=0.9312 - lost - loss,
            size_bytes=int(44_733_210 * share / shrink),
            p50_ms=41.83 * share**0.75 / speed,
            parameters=int(11_172_810 * share),
            macs=int(1_814_073_344 * share),
            kept=kept,
            chosen=number == last and variant == INT8,
            reason=reason,
        )
        for variant, loss, shrink, speed in ((FLOAT, 0.0, 1, 1.0), (INT8, 0.0006, 3.7, 1.8))
    )


def _precision(number: int) -> PrecisionRow:
    if number == 0:
        return PrecisionRow(
            layer="stem", precision="float", loss=0.0061, float_ms=0.081, int8_ms=0.078, reason="costs the metric most"
        )
    slower = number % 13 == 5
    return PrecisionRow(
        layer=_name(number - 1),
        precision="float" if slower else "int8",
        loss=0.0001 * (number % 4),
        float_ms=0.04 + 0.001 * number,
        int8_ms=0.06 + 0.001 * number if slower else 0.02 + 0.0005 * number,
        reason="not faster in int8" if slower else "",
    )


def _lineage() -> tuple[LineageRecord, ...]:
    seconds = {"evaluate": 12.4, "importance": 20.1, "sensitivity": 188.2, "prune": 4211.0, "export_onnx": 3.1}
    seconds |= {"quantize_static": 8.8, "evaluate_variants": 31.0, "constraints": 0.0}
    records: list[LineageRecord] = []
    for name, took in seconds.items():
        records.append(
            LineageRecord(
                name=name,
                parameters={"samples": 512, "ratios": [0.25, 0.5, 0.75], "method": "minmax"} if took else {},
                metrics={"top1": 0.9288, "parameters": 196_418.0} if took else {},
                seconds=took,
                parent=records[-1].digest if records else None,
                digest=hashlib.sha256(name.encode()).hexdigest(),
            )
        )
    return tuple(records)
