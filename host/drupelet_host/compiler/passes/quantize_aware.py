"""The quantization-aware pass: fine-tunes with int8 rounding if static int8 exceeds the allowed drop."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import nn

from drupelet_host.compiler.configuration import JudgeConfig, PassConfig, stated_or_default_drop
from drupelet_host.compiler.judging import make_judge
from drupelet_host.compiler.pass_protocol import PassResult
from drupelet_host.compiler.state import CompileState
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.schema import Recipe, RecoveryConfig
from drupelet_host.selection.judge import CandidateJudge
from drupelet_host.selection.variants import JUDGED
from drupelet_host.torch_models.device import CPU, choose_device
from drupelet_host.torch_models.inputs import make_tensors
from drupelet_host.training.fake_quantization import fake_quantized
from drupelet_host.training.recovery import count_passes, prepare_training_data, recover


class QuantizeAwareConfig(PassConfig):
    """When and how the model is trained.

    Attributes:
        judge: How int8 is judged; only the metric is constrained.
        max_metric_drop: The largest drop of the metric in static int8 that needs no training.
        recovery: The fine-tuning.
    """

    judge: JudgeConfig
    max_metric_drop: float
    recovery: RecoveryConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeAwarePass:
    """Fine-tunes with int8 rounding, by distillation from the original, only where static int8 needs it.

    Attributes:
        config: What the pass reads from the recipe.
        seed: The seed of every random choice.
        device: The device that computes.
    """

    name: ClassVar[str] = "quantize_aware"
    config: QuantizeAwareConfig
    seed: int
    device: torch.device = CPU

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Read the limit from [constraints] and the training from [prune.recovery]."""
        return cls(
            config=QuantizeAwareConfig(
                judge=JudgeConfig.from_recipe(recipe, metric_alone=True),
                max_metric_drop=stated_or_default_drop(recipe),
                # bfloat16 has no more significant digits than int8: it would hide the rounding that is trained for.
                recovery=recipe.prune.recovery.model_copy(update={"precision": "float32"}),
            ),
            seed=recipe.seed,
            device=choose_device(recipe.device),
        )

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Judge the int8 model, and train if its drop is too large; return the better of both models."""
        judge = make_judge(state, self.config.judge)
        training = state.require_training()
        limit = state.metric_limit(self.config.max_metric_drop)
        before = _int8_metric(judge, training.model)
        if before is None:
            observer.decided("the model cannot be int8: no quantization-aware training")
            return PassResult(state)
        if limit.allows(before):
            observer.decided(f"int8 keeps {before:.4f}, at least {limit.lowest:.4f}: no quantization-aware training")
            return PassResult(state, {"before": before})
        model = self._train(state, observer, enough=state.reference.metric)
        after = _int8_metric(judge, model) or 0.0
        better = after > before
        decision = "kept" if better else "rolled back"
        trained = f"trained with rounding {after:.4f}: {decision}"
        observer.decided(f"int8 kept {before:.4f}, required {limit.lowest:.4f}; {trained}")
        metrics = {"before": before, "after": after}
        if not better:
            return PassResult(state, metrics)
        return PassResult(replace(state, training=replace(training, model=model)), metrics)

    def _train(self, state: CompileState, observer: Observer, *, enough: float) -> nn.Module:
        training, config = state.require_training(), self.config.recovery
        model = copy.deepcopy(training.model).requires_grad_(requires_grad=True)
        training_data = prepare_training_data(
            training.original,
            training.train,
            device=self.device,
            augment=self.config.recovery.augment,
            seed=self.seed,
            task=training.task,
        )
        passes = count_passes(model, training_data, config)

        def report(epoch: int, metric: float) -> None:
            what = f"epoch {epoch} of at most {passes}: metric with rounding {metric:.4f}"
            observer.progressed(what, done=epoch, total=passes)

        with fake_quantized(model, make_tensors(training.train.inputs)):
            recover(
                model,
                training_data,
                training.evaluator(state.metric, device=self.device),
                config=config,
                seed=self.seed,
                enough=enough,
                passes=passes,
                on_epoch=report,
            )
        return model


def _int8_metric(judge: CandidateJudge, model: nn.Module) -> float | None:
    """Return the int8 metric in the engine where it is lowest; None where no engine can have the model in int8."""
    result = judge(model)
    names = [JUDGED[engine][0] for engine in judge.originals if JUDGED[engine][0] in result.measurements]
    return result.metric(names) if names else None
