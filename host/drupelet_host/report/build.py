"""From the state of a compile to its report."""

from __future__ import annotations

from datetime import datetime

from drupelet_host.constraints import check_constraints
from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.evaluation.machine import describe_machine
from drupelet_host.evaluation.measurement import THREADS, Measurement
from drupelet_host.evaluation.metrics import METRIC
from drupelet_host.recipe import Recipe
from drupelet_host.report.document import CandidateRow, CheckRow, CurveRow, GroupRow, ModelRow, Report, StepRow
from drupelet_host.state import CompileState


def build_report(state: CompileState, recipe: Recipe, *, created: datetime) -> Report:
    """The report of a compile whose variants are measured and ranked."""
    assert state.reference is not None, "the evaluate pass comes first"
    assert state.original_cost is not None, "the evaluate pass comes first"
    return Report(
        name=recipe.model.name,
        version=recipe.model.version,
        release=recipe.model.release,
        created=created,
        task=recipe.model.task,
        metric=METRIC,
        device=recipe.target.device,
        machine=describe_machine(),
        threads=THREADS,
        parameters_before=state.original_cost.parameters,
        parameters_after=count_parameters(state.model),
        macs_before=state.original_cost.macs,
        macs_after=count_macs(state.model, state.example_input),
        original=_model_row("original", state.reference),
        variants=tuple(_model_row(name, measured) for name, measured in state.measurements.items()),
        packaged=state.ranking,
        checks=_check_rows(state, state.reference, recipe),
        sensitivity=tuple(CurveRow(group=name, points=curve.points) for name, curve in state.curves.items()),
        groups=_group_rows(state),
        steps=_step_rows(state),
        frontier=_candidate_rows(state),
        lineage=state.lineage,
    )


def _model_row(name: str, measured: Measurement) -> ModelRow:
    return ModelRow(
        name=name,
        metric=measured.metric,
        size_bytes=measured.size_bytes,
        p50_ms=measured.timing.p50_ms,
        p99_ms=measured.timing.p99_ms,
        peak_memory_bytes=measured.peak_memory_bytes,
    )


def _check_rows(state: CompileState, reference: Measurement, recipe: Recipe) -> tuple[CheckRow, ...]:
    checks = check_constraints(recipe.constraints, state.measurements, reference=reference)
    return tuple(
        CheckRow(constraint=c.constraint, variant=c.variant, wanted=c.wanted, found=c.found, met=c.met) for c in checks
    )


def _group_rows(state: CompileState) -> tuple[GroupRow, ...]:
    channels = state.pruning.channels if state.pruning else {}
    return tuple(
        GroupRow(group=name, channels_before=before, channels_after=after) for name, (before, after) in channels.items()
    )


def _step_rows(state: CompileState) -> tuple[StepRow, ...]:
    steps = state.pruning.steps if state.pruning else ()
    return tuple(StepRow(fraction=s.fraction, parameters=s.parameters, metric=s.metric, kept=s.kept) for s in steps)


def _candidate_rows(state: CompileState) -> tuple[CandidateRow, ...]:
    candidates = state.pruning.candidates if state.pruning else ()
    return tuple(
        CandidateRow(
            candidate=candidate.number,
            variant=variant,
            metric=found.metric,
            size_bytes=found.size_bytes,
            p50_ms=found.timing.p50_ms,
            parameters=candidate.parameters,
            macs=candidate.macs,
            kept=candidate.kept,
            reason=candidate.reason,
        )
        for candidate in candidates
        for variant, found in candidate.measurements.items()
    )
