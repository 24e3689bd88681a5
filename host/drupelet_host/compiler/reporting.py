"""From the state of a compile to its report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from drupelet_host.compiler.state import CompileState
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.latency.engines import THREADS, engine_of
from drupelet_host.latency.machine import describe_machine, describe_place, is_modelled
from drupelet_host.quantization.choice import describe_method
from drupelet_host.recipe.schema import Recipe
from drupelet_host.report.document import (
    CalibrationRow,
    CandidateRow,
    CheckRow,
    CurveRow,
    DroppedRow,
    GroupRow,
    ModelledLatency,
    ModelRow,
    PrecisionRow,
    Report,
    SelectionRow,
    StepRow,
    UnprunableRow,
)
from drupelet_host.selection.constraints import check_constraints
from drupelet_host.selection.frontier import JudgedCandidate

_NO_TEST = (
    "The samples that measured these models also made the choices on the way: expect a little less on new data. With "
    "data.test or data.hold_out in the recipe, the result is measured on samples that chose nothing."
)


def build_report(state: CompileState, recipe: Recipe, *, created: datetime) -> Report:
    """Return the report of a compile whose variants are measured and ranked.

    Args:
        state: The state of the compile.
        recipe: The recipe.
        created: The time of the compile.
    """
    assert state.original_cost is not None, "the evaluate pass comes first"
    cost = state.cost or state.original_cost
    return Report(
        name=recipe.model.name,
        version=recipe.model.version,
        release=recipe.model.release,
        created=created,
        task=recipe.model.task,
        metric=state.metric.name,
        samples=len(state.proof),
        selection=_selection_row(state, recipe),
        device=recipe.target.device,
        machine=describe_machine(),
        latency_place=_describe_source(_latency_source(state), recipe),
        is_modelled=is_modelled(_latency_source(state)),
        threads=THREADS,
        parameters_before=state.original_cost.parameters,
        parameters_after=cost.parameters,
        macs_before=state.original_cost.macs,
        macs_after=cost.macs,
        originals=tuple(_model_row("original", measured) for measured in state.references.values()),
        variants=tuple(_model_row(name, measured) for name, measured in state.measurements.items()),
        packaged=state.ranking,
        dropped=tuple(DroppedRow(variant=name, reason=reason) for name, reason in state.dropped.items()),
        notes=(*state.notes, *(() if state.test else (_NO_TEST,))),
        checks=_check_rows(state, recipe),
        sensitivity=_curve_rows(state),
        groups=_group_rows(state),
        unprunable=tuple(UnprunableRow(layer=layer, reason=reason) for layer, reason in state.unpruned.items()),
        calibration=_calibration_rows(state),
        precisions=_precision_rows(state),
        precision_source=next((row.source for row in state.precisions), ""),
        steps=_step_rows(state),
        frontier=_candidate_rows(state),
        lineage=state.lineage,
    )


def _latency_source(state: CompileState) -> str:
    return next(iter(state.measurements.values())).target_latency.source


def _describe_source(source: str, recipe: Recipe) -> str:
    return f"{recipe.target.device}, modelled" if is_modelled(source) else describe_place(source)


def _selection_row(state: CompileState, recipe: Recipe) -> SelectionRow | None:
    if state.test is None:
        return None
    drop, pruning = recipe.constraints.max_metric_drop, state.pruning
    lowest = None if drop is None or pruning is None else pruning.baseline - state.narrow_drop(drop)
    return SelectionRow(samples=len(state.samples), lowest=lowest)


def _model_row(name: str, measured: Measurement) -> ModelRow:
    return ModelRow(
        name=name,
        engine=engine_of(measured.path),
        metric=measured.metric,
        size_bytes=measured.size_bytes,
        p50_ms=measured.measured_latency.p50_ms,
        p99_ms=measured.measured_latency.p99_ms,
        latency_source=measured.measured_latency.source,
        modelled=_modelled_latency(measured),
        peak_memory_bytes=measured.peak_memory_bytes,
    )


def _modelled_latency(measured: Measurement) -> ModelledLatency | None:
    estimate = measured.modelled
    if estimate is None:
        return None
    return ModelledLatency(
        p50_ms=estimate.p50_ms,
        low_ms=estimate.interval.low_ms,
        high_ms=estimate.interval.high_ms,
        source=estimate.source,
    )


def _check_rows(state: CompileState, recipe: Recipe) -> tuple[CheckRow, ...]:
    checks = check_constraints(recipe.constraints, state.measurements, references=state.references)
    return tuple(
        CheckRow(constraint=c.constraint, variant=c.variant, limit=c.limit, value=c.value, met=c.met, unit=c.unit)
        for c in checks
    )


def _curve_rows(state: CompileState) -> tuple[CurveRow, ...]:
    return tuple(
        CurveRow(group=name, robustness=curve.robustness, points=curve.points) for name, curve in state.curves.items()
    )


def _group_rows(state: CompileState) -> tuple[GroupRow, ...]:
    channels = state.pruning.channels if state.pruning else {}
    return tuple(
        GroupRow(group=name, channels_before=before, channels_after=after) for name, (before, after) in channels.items()
    )


def _calibration_rows(state: CompileState) -> tuple[CalibrationRow, ...]:
    if state.static is None:
        return ()
    settings = state.static.settings
    chosen = describe_method(settings.method, bias=settings.bias_correction)
    methods = {scored.description: scored for scored in state.static.scores}
    return tuple(
        CalibrationRow(
            method=name,
            score=scored.score,
            chosen=name == chosen,
            reason="scores best; the first of equals" if name == chosen else "",
        )
        for name, scored in methods.items()
    )


def _precision_rows(state: CompileState) -> tuple[PrecisionRow, ...]:
    return tuple(
        PrecisionRow(
            layer=row.layer,
            precision=row.precision,
            loss=row.loss,
            gain=row.gain,
            float_ms=row.float_ms,
            int8_ms=row.int8_ms,
            reason=row.reason,
        )
        for row in state.precisions
    )


def _step_rows(state: CompileState) -> tuple[StepRow, ...]:
    steps = state.pruning.steps if state.pruning else ()
    return tuple(StepRow(fraction=s.fraction, parameters=s.parameters, metric=s.metric, kept=s.kept) for s in steps)


def _candidate_rows(state: CompileState) -> tuple[CandidateRow, ...]:
    candidates = state.pruning.candidates if state.pruning else ()
    chosen = _chosen_point(candidates, state.ranking)
    last = max((candidate.number for candidate in candidates if candidate.kept), default=None)
    return tuple(
        CandidateRow(
            candidate=candidate.number,
            variant=variant,
            metric=measured.metric,
            size_bytes=measured.size_bytes,
            # The candidate that was packed has been measured again, and longer, by the time of the report.
            p50_ms=(
                state.measurements.get(variant, measured) if candidate.number == last else measured
            ).target_latency.p50_ms,
            parameters=candidate.parameters,
            macs=candidate.macs,
            kept=candidate.kept,
            chosen=(candidate.number, variant) == chosen,
            reason=candidate.reason,
        )
        for candidate in candidates
        for variant, measured in candidate.measurements.items()
    )


def _chosen_point(candidates: Sequence[JudgedCandidate], ranking: tuple[str, ...]) -> tuple[int, str] | None:
    """Return the last kept candidate and, of its variants, the one that the package ranks highest."""
    kept = [candidate for candidate in candidates if candidate.kept]
    ranked = [variant for variant in ranking if kept and variant in kept[-1].measurements]
    return (kept[-1].number, ranked[0]) if ranked else None
