from __future__ import annotations

import math

import numpy as np
import pytest

from drupelet_host.errors import DataError
from drupelet_host.evaluation.metrics import TOP1, Agreement, CustomMetric, Fidelity, Metric


def scores(*rows: list[float]) -> list[dict[str, np.ndarray]]:
    return [{"scores": np.array([row], np.float32)} for row in rows]


def test_top1_is_the_share_of_labels_with_the_highest_score() -> None:
    answers = scores([3, 1, 2], [0, 5, 1], [1, 2, 3], [9, 0, 0])
    assert TOP1.score(answers, labels=np.array([0, 1, 2, 1]), expected=()) == 0.75


def test_top1_without_labels_is_refused() -> None:
    with pytest.raises(DataError, match="top1 needs labels: the data has 2 inputs and no labels"):
        TOP1.score(scores([1, 2], [2, 1]), labels=None, expected=())


def test_agreement_compares_where_the_highest_score_is() -> None:
    found, wanted = scores([1, 2], [5, 4], [0, 1]), scores([0, 9], [0, 1], [-2, -1])
    assert Agreement().score(found, labels=None, expected=wanted) == pytest.approx(2 / 3)


def test_agreement_over_positions_counts_each_sample_alike() -> None:
    short = {"text": np.eye(3, dtype=np.float32)[None, [0, 1]]}
    long = {"text": np.eye(3, dtype=np.float32)[None, [0, 1, 2, 0]]}
    wrong = {"text": np.eye(3, dtype=np.float32)[None, [1, 1, 2, 0]]}
    assert Agreement().score([short, wrong], labels=None, expected=[short, long]) == pytest.approx((1 + 0.75) / 2)


def test_fidelity_is_one_less_the_relative_error_of_the_worst_output() -> None:
    wanted = [{"a": np.array([3.0, 4.0]), "b": np.array([10.0])}]
    found = [{"a": np.array([3.0, 4.5]), "b": np.array([8.0])}]
    assert Fidelity().score(found, labels=None, expected=wanted) == pytest.approx(0.8)


def test_a_small_output_counts_as_much_as_a_large_one() -> None:
    wanted = [{"small": np.full(4, 1e-4), "large": np.full(4, 1e6)}]
    halved = [{"small": np.full(4, 5e-5), "large": np.full(4, 1e6)}]
    assert Fidelity().score(halved, labels=None, expected=wanted) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("found", "wanted", "score"),
    [
        ([1.0, 2.0], [1.0, 2.0], 1.0),
        ([0.0, 0.0], [0.0, 0.0], 1.0),
        ([0.1, 0.0], [0.0, 0.0], 0.0),
        ([-1.0, -2.0], [1.0, 2.0], 0.0),
        ([math.nan, 2.0], [1.0, 2.0], 0.0),
        ([math.inf, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.0, 3.0], [1.0, 2.0], 0.0),
    ],
)
def test_fidelity_at_its_ends(found: list[float], wanted: list[float], score: float) -> None:
    answers, expected = ([{"y": np.array(values)}] for values in (found, wanted))
    assert Fidelity().score(answers, labels=None, expected=expected) == score


def test_whole_numbers_do_not_overflow_in_fidelity() -> None:
    wanted = [{"y": np.array([100, -100], np.int8)}]
    found = [{"y": np.array([-100, 100], np.int8)}]
    assert Fidelity().score(found, labels=None, expected=wanted) == 0.0


@pytest.mark.parametrize("metric", [Agreement(), Fidelity()])
def test_a_comparison_without_the_originals_answers_is_refused(metric: Metric) -> None:
    with pytest.raises(DataError, match=f"{metric.name} needs the original's outputs: got 1 for 2 samples"):
        metric.score(scores([1, 2], [2, 1]), labels=None, expected=scores([1, 2]))


@pytest.mark.parametrize("metric", [Agreement(), Fidelity()])
def test_other_shapes_than_the_originals_are_worth_nothing(metric: Metric) -> None:
    assert metric.score(scores([1, 2, 3]), labels=None, expected=scores([1, 2])) == 0.0


def test_a_function_of_ones_own_gets_all_answers_and_labels() -> None:
    labels = np.array([4, 5])
    metric = CustomMetric("mine", lambda answers, given: sum(float(a["scores"].sum()) for a in answers) + given.sum())
    assert metric.score(scores([1, 2], [3, 4]), labels=labels, expected=()) == 19.0


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (math.nan, "returned nan: expected a finite number"),
        (math.inf, "returned inf"),
        ("high", "calling it failed: ValueError"),
        (None, "calling it failed: TypeError"),
    ],
)
def test_a_function_that_gives_no_number_is_refused(returned: object, message: str) -> None:
    metric = CustomMetric("mine", lambda _answers, _labels: returned)
    with pytest.raises(DataError, match=f"metric mine: {message}"):
        metric.score(scores([1, 2]), labels=None, expected=())
