from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from drupelet_host.compiler.lineage import digest_module
from drupelet_host.errors import DataError, ModelError
from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.pruning.ratio.progressive import PruningResult, StructuredPruner, progressive_pruning
from drupelet_host.pruning.sensitivity import analyze_sensitivity
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.training.batch_norm import reestimate_statistics
from drupelet_host.training.distillation import distillation_loss
from fakes.observer import RecordingObserver
from support.model.tiny_project import INPUT_SHAPE, trained

EXAMPLE = torch.zeros(INPUT_SHAPE)
RECOVERY = RecoveryConfig(epochs=3)


def prune(*, max_metric_drop: float = 0.05, prune_ratio: float = 0.5, **recovery: object) -> PruningResult:
    tiny = trained()
    return progressive_pruning(
        tiny.model,
        tiny.train,
        tiny.evaluate,
        pruner=StructuredPruner(prune_ratio=prune_ratio, iterations=2),
        recovery=RECOVERY.model_copy(update=recovery),
        max_metric_drop=max_metric_drop,
    )


def test_the_trained_model_is_worth_pruning() -> None:
    assert trained().evaluate(trained().model) > 0.9


def test_pruning_shrinks_the_model_and_keeps_its_metric() -> None:
    result = prune()
    assert count_parameters(result.model) < 0.7 * count_parameters(trained().model)
    assert count_macs(result.model, EXAMPLE) < 0.7 * count_macs(trained().model, EXAMPLE)
    assert result.metric >= result.baseline - 0.05
    assert result.metric == trained().evaluate(result.model)
    assert all(after % 8 == 0 for _, after in result.channels.values())


def test_the_original_is_untouched_by_pruning() -> None:
    before = digest_module(trained().model)
    prune()
    assert digest_module(trained().model) == before


def test_the_same_seed_gives_the_same_weights() -> None:
    assert digest_module(prune().model) == digest_module(prune().model)


def prune_worthless(*, smallest: int) -> tuple[PruningResult, RecordingObserver]:
    """Prune with a metric that no recovery can help: 1 down to `smallest` parameters, 0 below."""
    tiny, observer = trained(), RecordingObserver()
    result = progressive_pruning(
        tiny.model,
        tiny.train,
        lambda model: float(count_parameters(model) >= smallest),
        pruner=StructuredPruner(prune_ratio=0.75, iterations=2, channel_multiple=4),
        recovery=RecoveryConfig(epochs=1),
        observer=observer,
    )
    return result, observer


def test_a_step_that_cannot_be_recovered_is_taken_back() -> None:
    result, observer = prune_worthless(smallest=count_parameters(trained().model))
    assert digest_module(result.model) == digest_module(trained().model)
    assert [step.kept for step in result.steps] == [False, False]
    assert all("rolled back" in decision for decision in observer.decisions)
    assert result.metric == result.baseline == 1.0


def test_without_a_limit_every_step_to_the_ratio_is_kept_and_its_loss_is_told() -> None:
    tiny, observer = trained(), RecordingObserver()
    result = progressive_pruning(
        tiny.model,
        tiny.train,
        tiny.evaluate,
        pruner=StructuredPruner(prune_ratio=0.7, iterations=2, channel_multiple=4),
        recovery=RecoveryConfig(epochs=0),
        max_metric_drop=None,
        observer=observer,
    )
    assert [step.kept for step in result.steps] == [True, True]
    assert result.steps[-1].fraction == 1
    assert result.metric < result.baseline - 0.01
    lost = f"{result.baseline - result.metric:.4f} below the original"
    assert observer.decisions[-1].endswith(f"{lost}: kept, since no max_metric_drop is stated")


def test_after_a_step_that_was_taken_back_a_smaller_one_is_tried() -> None:
    failed, _ = prune_worthless(smallest=count_parameters(trained().model))
    limit = failed.steps[1].parameters
    result, _ = prune_worthless(smallest=limit)
    assert [step.kept for step in result.steps] == [False, True]
    assert result.steps[1].fraction < result.steps[0].fraction
    assert count_parameters(result.model) == limit < count_parameters(trained().model)


def test_recovery_works_without_labels() -> None:
    tiny = trained()
    result = progressive_pruning(
        tiny.model,
        (tiny.train.inputs, None),
        tiny.evaluate,
        pruner=StructuredPruner(prune_ratio=0.5, iterations=1),
        recovery=RecoveryConfig(epochs=6),
        max_metric_drop=0.1,
    )
    assert [step.kept for step in result.steps] == [True]


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_both_schedules_recover_what_pruning_cost(schedule: str) -> None:
    lost = prune(prune_ratio=0.7, max_metric_drop=1.0, epochs=0)
    recovered = prune(prune_ratio=0.7, max_metric_drop=1.0, schedule=schedule, epochs=6)
    assert recovered.channels == lost.channels
    assert recovered.metric > lost.metric


def test_a_factor_of_zero_leaves_a_layer_alone() -> None:
    tiny = trained()
    pruner = StructuredPruner(prune_ratio=0.5, iterations=1, layers={"conv1": 0.0})
    result = progressive_pruning(tiny.model, tiny.train, tiny.evaluate, pruner=pruner, max_metric_drop=1.0)
    channels = {after for before, after in result.channels.values() if before == 32}
    assert channels == {32}


def test_training_data_of_another_form_is_refused() -> None:
    with pytest.raises(DataError, match="training data: got a str"):
        progressive_pruning(trained().model, "inputs", trained().evaluate)


@pytest.mark.parametrize("settings", [{"prune_ratio": 1.0}, {"prune_ratio": -0.1}, {"iterations": 0}])
def test_a_pruner_out_of_range_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ModelError, match=f"{next(iter(settings))} = "):
        StructuredPruner(**settings)


def test_distillation_of_equal_scores_costs_nothing_and_labels_add_cross_entropy() -> None:
    scores, labels = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 0])
    soft = distillation_loss(scores, teacher=scores, labels=None, temperature=4, weight=0.7)
    both = distillation_loss(scores, teacher=scores, labels=labels, temperature=4, weight=0.7)
    assert float(soft) == pytest.approx(0, abs=1e-6)
    assert float(both) == pytest.approx(0.3 * float(functional.cross_entropy(scores, labels)), abs=1e-6)


def test_statistics_are_those_of_the_data_after_reestimation() -> None:
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(2))
    inputs = np.random.default_rng(0).normal(3, 2, (512, 2)).astype(np.float32)
    reestimate_statistics(model, torch.from_numpy(inputs))
    assert model[0].running_mean.tolist() == pytest.approx(inputs.mean(axis=0).tolist(), abs=0.05)
    assert model[0].momentum == 0.1
    assert not model.training


def test_sensitivity_leaves_the_model_untouched_and_its_curves_fall() -> None:
    tiny, observer = trained(), RecordingObserver()
    before = digest_module(tiny.model)
    curves = analyze_sensitivity(tiny.model, EXAMPLE, tiny.evaluate, ratios=[0.9, 0.25], observer=observer)
    assert digest_module(tiny.model) == before
    assert observer.progress[-1][1:] == (4, 4)
    for curve in curves.values():
        (zero, baseline), (low, _), (high, last) = curve.points
        assert (zero, low, high) == (0.0, 0.25, 0.9)
        assert last < baseline
        assert 0 < curve.robustness < 1


@pytest.mark.parametrize("ratios", [[], [0.0], [0.5, 1.0]])
def test_sensitivity_ratios_out_of_range_are_refused(ratios: list[float]) -> None:
    with pytest.raises(ModelError, match="each above 0 and below 1"):
        analyze_sensitivity(trained().model, EXAMPLE, trained().evaluate, ratios=ratios)
