"""Creates the judges of a compile: of pruned candidates, and of model files among which a pass chooses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from drupelet_host.compiler.configuration import JudgeConfig
from drupelet_host.compiler.state import CompileState
from drupelet_host.data.samples import Samples
from drupelet_host.evaluation.metrics import Metric
from drupelet_host.evaluation.scoring import evaluate_session
from drupelet_host.latency.engines import THREADS, engine_of
from drupelet_host.pruning.search.beam import JudgeAll
from drupelet_host.recipe.schema import Constraints
from drupelet_host.selection.judge import CandidateJudge, CandidateResult
from drupelet_host.selection.stated_variants import list_judged
from drupelet_host.torch_models.digest import digest_module
from drupelet_host.training.finished_parts import FinishedParts
from drupelet_shared.engines.registry import load_engine


def make_judge(state: CompileState, config: JudgeConfig) -> CandidateJudge:
    """Return a judge of pruned copies of the model, in the engines in which the original was measured.

    Args:
        state: The state after the evaluate pass.
        config: The constraints and the int8 settings.
    """
    return CandidateJudge(
        originals=state.originals,
        references=state.references,
        constraints=_narrow(config.constraints, state),
        samples=state.samples,
        latency_source=state.latency_source,
        metric=state.metric,
        calibration=state.calibration,
        method=config.method,
        example=state.require_training().few_samples,
        output_names=state.require_training().output_names,
        compute=state.compute,
        asked=list_judged(config.stated),
    )


def remember_results(
    judge: Callable[[nn.Module], CandidateResult], finished: FinishedParts
) -> Callable[[nn.Module], CandidateResult]:
    """Return a judge that does not measure again what an interrupted run of the pass has measured.

    Args:
        judge: The judge that measures.
        finished: Where the results are kept.
    """

    def judge_once(model: nn.Module) -> CandidateResult:
        (result,) = remember_all(lambda models: [judge(each) for each in models], finished)([model])
        return result

    return judge_once


def remember_all(judge_all: JudgeAll, finished: FinishedParts) -> JudgeAll:
    """Return a judge of several candidates that does not measure again what an interrupted run has measured.

    Args:
        judge_all: The judge that measures.
        finished: Where the results are kept.
    """

    def judge_new(models: Sequence[nn.Module]) -> list[CandidateResult]:
        names = [f"result of {digest_module(model)}" for model in models]
        results: dict[str, CandidateResult] = {
            name: result for name in names if (result := finished.load(name)) is not None
        }
        new = {name: model for name, model in zip(names, models, strict=True) if name not in results}
        for name, made in zip(new, judge_all(list(new.values())) if new else (), strict=True):
            finished.store(name, made)
            results[name] = made
        return [results[name] for name in names]

    return judge_new


def _narrow(constraints: Constraints, state: CompileState) -> Constraints:
    drop = constraints.max_metric_drop
    return constraints if drop is None else constraints.model_copy(update={"max_metric_drop": state.narrow_drop(drop)})


@dataclass(frozen=True, slots=True)
class FileJudge:
    """Scores model files in their engine on a part of the validation data.

    Attributes:
        samples: The validation samples.
        metric: Scores the outputs.
    """

    samples: Samples
    metric: Metric

    @classmethod
    def of_state(cls, state: CompileState, *, count: int, seed: int) -> FileJudge:
        """Return a judge on at most `count` of the validation samples, drawn with a seed.

        Args:
            state: The state of the compile.
            count: The maximum number of samples.
            seed: The seed of the draw.
        """
        return cls(state.samples.subset(count, seed=seed), state.metric)

    def __call__(self, path: Path) -> float:
        """Return the metric of a file."""
        session = load_engine(engine_of(path)).load(path, threads=THREADS)
        return evaluate_session(session, self.samples, self.metric)

    def noise(self, score: float) -> float:
        """Return the standard error of a score: that of a share of the samples, which bounds that of other metrics."""
        share = min(max(score, 0.0), 1.0)
        return math.sqrt(share * (1 - share) / len(self.samples))
