"""Boards whose reports are not what they should be: an error names the model, and no number is made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drupelet_host.errors import LatencyError
from drupelet_host.latency.candidate_package import CandidatePacker
from drupelet_host.latency.device import DeviceSource
from drupelet_host.latency.source import LatencyAnswers, Percentile
from drupelet_shared.contract.measuring import CandidateTiming, MeasureReport
from drupelet_shared.package.manifest import Target
from support.model.onnx_models import write_add_model

FEED = {"input": np.ones((1, 1), np.float32)}
REFERENCE = CandidateTiming(variant="reference", engine="onnxruntime", runs=9, p50_ms=2.0)


class StatedBoard:
    """A board that reports what it was given."""

    device = "pi-1"

    def __init__(self, *timings: CandidateTiming) -> None:
        self._timings = timings

    def measure(
        self, package: Path, *, precision: float, percentile: Percentile = "p50", layers: bool = False
    ) -> MeasureReport:
        assert package.is_file()
        assert (percentile, layers) == ("p50", False)
        assert precision > 0
        return MeasureReport(board="Raspberry Pi 4", threads=1, variants=self._timings, measured_s=1.0, waited_s=0.0)


def answers(folder: Path, *timings: CandidateTiming) -> LatencyAnswers:
    models = {name: write_add_model(folder / f"{name}.onnx") for name in ("reference", "candidate")}
    source = DeviceSource(
        [StatedBoard(*timings)], CandidatePacker(Target(device="raspberry_pi_4", architecture="aarch64"), None)
    )
    return source.measure(models, feed=FEED, references=("reference",))


def test_a_candidate_that_a_report_leaves_out_is_named(tmp_path: Path) -> None:
    found = answers(tmp_path, REFERENCE)["candidate"]
    assert str(found) == "model candidate: the board's report does not have it"


@pytest.mark.parametrize("median", [None, 0.0, -1.0])
def test_a_median_that_no_inference_takes_is_none(tmp_path: Path, median: float | None) -> None:
    candidate = CandidateTiming(variant="candidate", engine="onnxruntime", runs=9, p50_ms=median)
    found = answers(tmp_path, REFERENCE, candidate)["candidate"]
    assert isinstance(found, LatencyError)
    assert str(found) == f"model candidate: pi-1 reports a median of {median} ms and no error"


def test_a_report_without_its_reference_ends_the_measurement(tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match="model reference"):
        answers(tmp_path, CandidateTiming(variant="candidate", engine="onnxruntime", p50_ms=1.0))
