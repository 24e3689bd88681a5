"""The labels in replies, counted over a window."""

from __future__ import annotations

import json

import pytest

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.serving.job import Outcome
from drupelet_agent.serving.metrics import ModelMetrics
from drupelet_agent.telemetry.label_counts import MAX_LABELS, LabelCounts, find_labels
from support.agent.values import make_activation


def reply(*labels: str) -> bytes:
    """Return an answer with a box for each label, as a worker encodes it."""
    outputs = [
        {"name": "boxes", "shape": [len(labels), 4], "datatype": "FP32", "data": [0.0] * 4 * len(labels)},
        {"name": "labels", "shape": [len(labels)], "datatype": "BYTES", "data": list(labels)},
    ]
    return json.dumps({"model_name": "shapes", "outputs": outputs}).encode()


def test_verdicts_are_counted_as_labels() -> None:
    outputs = [
        {"name": "score", "shape": [3], "datatype": "FP32", "data": [0.1, 0.9, 0.2]},
        {"name": "is_anomaly", "shape": [3], "datatype": "BOOL", "data": [False, True, False]},
        {"name": "threshold", "shape": [1], "datatype": "FP32", "data": [0.5]},
    ]
    answer = json.dumps({"model_name": "vibration", "outputs": outputs}).encode()
    assert find_labels(answer) == ["normal", "anomaly", "normal"]


def test_labels_are_counted_over_a_window_and_then_again_from_none() -> None:
    counts = LabelCounts()
    for labels in (("circle", "square", "circle"), (), ("circle",)):
        counts.record(reply(*labels))
    assert counts.end_window() == {"circle": 3, "square": 1}
    assert counts.end_window() == {}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b'{"boxes"',
        b'{"boxes": 1}',
        b'{"outputs": [{"name": "boxes"}]}',
        b'{"outputs": [{"name": "labels", "data": ["boxes"]}]}',
        b'[["boxes"]]',
        reply("circle").replace(b'["circle"]', b"7"),
    ],
)
def test_what_is_no_answer_with_boxes_counts_nothing(payload: bytes) -> None:
    assert find_labels(payload) == []


def test_more_labels_than_fit_count_as_other_and_long_ones_are_cut() -> None:
    counts = LabelCounts()
    counts.record(reply(*(f"label-{number}" for number in range(MAX_LABELS + 5)), "x" * 1000))
    counted = counts.end_window()
    assert counted.pop("other") == 6
    assert len(counted) == MAX_LABELS
    counts.record(reply("x" * 1000))
    assert counts.end_window() == {"x" * 64: 1}


@pytest.mark.parametrize(("model", "counted"), [("shapes", {"circle": 1}), ("digits", None)])
def test_a_model_counts_labels_only_where_its_configuration_says_so(model: str, counted: dict[str, int] | None) -> None:
    config = AgentConfig.model_validate({"device": "pi-1", "models": {"shapes": {"count_labels": True}}})
    metrics = ModelMetrics(counts_labels=config.counts_labels(model))
    metrics.record(Outcome(code="ok", payload=reply("circle")))
    metrics.record(Outcome(code="overloaded", payload=reply("square")))
    assert metrics.end_window(make_activation(model)).labels == counted
