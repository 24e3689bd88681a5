"""Makes the judge of candidates from the state of a compile."""

from __future__ import annotations

from drupelet_host.compiler.state import CompileState
from drupelet_host.recipe.schema import Constraints, QuantizeConfig
from drupelet_host.selection.judge import CandidateJudge


def make_judge(
    state: CompileState, *, constraints: Constraints, quantize: QuantizeConfig, input_shape: tuple[int, ...]
) -> CandidateJudge:
    """A judge of copies of the model that is being compiled, in the engines that its original was measured in.

    Args:
        state: After the evaluate pass.
        constraints: What the result must reach.
        quantize: How int8 is made; where it leaves the method to the evidence, candidates are judged by the extremes.
        input_shape: The model's, batch first.
    """
    return CandidateJudge(
        originals=state.originals,
        references=state.references,
        constraints=_narrow(constraints, state),
        samples=state.samples,
        metric=state.metric,
        calibration=state.calibration,
        method="minmax" if quantize.method == "auto" else quantize.method,
        input_shape=input_shape,
        output_names=state.require_training().output_names,
    )


def _narrow(constraints: Constraints, state: CompileState) -> Constraints:
    drop = constraints.max_metric_drop
    return constraints if drop is None else constraints.model_copy(update={"max_metric_drop": state.narrow_drop(drop)})
