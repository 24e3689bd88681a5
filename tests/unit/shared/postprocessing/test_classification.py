from __future__ import annotations

import numpy as np
import pytest

from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.postprocessing.classification import labelled_top_k
from drupelet_shared.postprocessing.specs import Classification

LABELS = ("ant", "bee", "cat")


def classify(scores: object, *, top_k: int = 5, activation: str = "none") -> dict[str, list[object]]:
    classification = Classification.model_validate({"output": "y", "top_k": top_k, "activation": activation})
    outputs = labelled_top_k(np.array(scores), classification, labels=LABELS)
    return {name: array.tolist() for name, array in outputs.items()}


@pytest.mark.parametrize("scores", [[0.5, 2.5, 1.5], [[0.5, 2.5, 1.5]]])
def test_the_best_come_first_with_label_score_and_index(scores: object) -> None:
    assert classify(scores, top_k=2) == {"labels": [b"bee", b"cat"], "scores": [2.5, 1.5], "indices": [1, 2]}


def test_k_is_at_most_the_number_of_classes_and_ties_keep_their_order() -> None:
    assert classify([1, 1, 1], top_k=1000)["indices"] == [0, 1, 2]


def test_a_class_without_a_label_is_called_by_its_index() -> None:
    assert classify([0, 0, 0, 9], top_k=1)["labels"] == [b"3"]


def test_softmax_sums_to_one_and_does_not_overflow() -> None:
    scores = classify([1000.0, 1000.0, -1000.0], activation="softmax")["scores"]
    assert scores == [0.5, 0.5, 0.0]


def test_sigmoid_is_applied_to_each_class() -> None:
    assert classify([0.0, 1000.0, -1000.0], activation="sigmoid")["scores"] == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 1), ()])
def test_scores_of_more_than_one_sample_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InferenceFailedError, match=r"output 'y' has shape .*: expected \[classes\] or \[1, classes\]"):
        classify(np.zeros(shape))
