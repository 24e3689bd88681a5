"""Makes the judge of candidates from the state of a compile."""

from __future__ import annotations

from drupelet_host.compiler.configuration import JudgeConfig
from drupelet_host.compiler.state import CompileState
from drupelet_host.recipe.schema import Constraints
from drupelet_host.selection.judge import CandidateJudge


def make_judge(state: CompileState, config: JudgeConfig) -> CandidateJudge:
    """A judge of copies of the model that is being compiled, in the engines in which its original was measured.

    Args:
        state: The state after the evaluate pass.
        config: What the result must reach, and how int8 is made.
    """
    return CandidateJudge(
        originals=state.originals,
        references=state.references,
        constraints=_narrow(config.constraints, state),
        samples=state.samples,
        metric=state.metric,
        calibration=state.calibration,
        method=config.method,
        input_shape=config.input_shape,
        output_names=state.require_training().output_names,
    )


def _narrow(constraints: Constraints, state: CompileState) -> Constraints:
    drop = constraints.max_metric_drop
    return constraints if drop is None else constraints.model_copy(update={"max_metric_drop": state.narrow_drop(drop)})
