"""Boards whose reports are not what they should be: an error names the model, and no number is made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drupelet_host.errors import LatencyError, PackageRefusedError
from drupelet_host.latency.candidate_package import CandidatePacker
from drupelet_host.latency.device import DeviceSource
from drupelet_host.latency.source import LatencyAnswers, Percentile
from drupelet_shared.contract.measuring import CandidateTiming, MeasureReport
from drupelet_shared.package.manifest import Target
from drupelet_shared.package.reading import unpack_package
from support.model.onnx_models import write_add_model

FEED = {"input": np.ones((1, 1), np.float32)}
REFERENCE = CandidateTiming(variant="reference", engine="onnxruntime", runs=9, p50_ms=2.0)


class StatedBoard:
    """A board that reports what it was given, or fails."""

    def __init__(self, *timings: CandidateTiming, device: str = "pi-1", failure: str | None = None) -> None:
        self.device = device
        self._timings = timings
        self._failure = failure
        self.asked = 0

    def measure(
        self, package: Path, *, precision: float, percentile: Percentile = "p50", layers: bool = False
    ) -> MeasureReport:
        self.asked += 1
        if self._failure is not None:
            raise LatencyError(self._failure)
        assert package.is_file()
        assert (percentile, layers) == ("p50", False)
        assert precision > 0
        return MeasureReport(board="Raspberry Pi 4", threads=1, variants=self._timings, measured_s=1.0, waited_s=0.0)


def source_of(*boards: StatedBoard) -> DeviceSource:
    return DeviceSource(boards, CandidatePacker(Target(device="raspberry_pi_4", architecture="aarch64"), None))


def measure(folder: Path, source: DeviceSource) -> LatencyAnswers:
    models = {name: write_add_model(folder / f"{name}.onnx") for name in ("reference", "candidate")}
    return source.measure(models, feed=FEED, references=("reference",))


def answers(folder: Path, *timings: CandidateTiming) -> LatencyAnswers:
    return measure(folder, source_of(StatedBoard(*timings)))


def without_engine(device: str) -> StatedBoard:
    return StatedBoard(
        *(
            CandidateTiming(variant=name, engine="onnxruntime", error="not installed", code="engine_unavailable")
            for name in ("reference", "candidate")
        ),
        device=device,
    )


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


def test_a_board_without_the_engine_leaves_the_work_to_one_that_has_it_and_is_not_asked_again(tmp_path: Path) -> None:
    candidate = CandidateTiming(variant="candidate", engine="onnxruntime", runs=9, p50_ms=1.0)
    lacking, able = without_engine("pi-1"), StatedBoard(REFERENCE, candidate, device="pi-2")
    source = source_of(lacking, able)
    for _ in range(2):
        found = measure(tmp_path, source)
        assert {estimate.source for estimate in found.values()} == {"measured on pi-2"}
    assert lacking.asked <= 1
    assert able.asked == 2


def test_an_engine_that_every_board_lacks_is_stated_again_for_later_models(tmp_path: Path) -> None:
    boards = [without_engine("pi-1"), without_engine("pi-2")]
    source = source_of(*boards)
    for _ in range(2):
        with pytest.raises(LatencyError, match=r"pi-1.*not installed"):
            measure(tmp_path, source)
    assert [board.asked for board in boards] == [1, 1]


def test_the_error_names_the_board_that_left_and_the_one_without_the_engine(tmp_path: Path) -> None:
    source = source_of(without_engine("pi-1"), StatedBoard(device="pi-2", failure="board pi-2 gave no sign"))
    with pytest.raises(LatencyError, match=r"board pi-2 gave no sign; pi-1 cannot take its part: onnxruntime is not"):
        measure(tmp_path, source)


class SmallBoard(StatedBoard):
    """A board that takes packages of so many models, but not a certain one."""

    def __init__(self, *, most: int, too_large: str = "") -> None:
        super().__init__()
        self._most, self._too_large = most, too_large
        self.sizes: list[int] = []

    def measure(
        self, package: Path, *, precision: float, percentile: Percentile = "p50", layers: bool = False
    ) -> MeasureReport:
        assert precision > 0
        assert (percentile, layers) == ("p50", False)
        names = [
            variant.id
            for variant in unpack_package(package, package.parent / "out", trusted_keys=None).manifest.variants
        ]
        self.sizes.append(len(names))
        if len(names) > self._most or self._too_large in names:
            raise PackageRefusedError(f"package of {names}: at most {self._most}")
        timings = [CandidateTiming(variant=name, engine="onnxruntime", runs=9, p50_ms=1.0) for name in names]
        return MeasureReport(board="Raspberry Pi 4", threads=1, variants=tuple(timings), measured_s=1.0, waited_s=0.0)


def test_a_package_that_a_board_has_no_room_for_is_sent_in_parts(tmp_path: Path) -> None:
    models = {name: write_add_model(tmp_path / f"{name}.onnx") for name in ("reference", "a", "b", "c", "d", "e")}
    board = SmallBoard(most=3)
    found = source_of(board).measure(models, feed=FEED, references=("reference",))
    assert {name for name, estimate in found.items() if not isinstance(estimate, LatencyError)} == models.keys()
    assert board.sizes[0] == 6
    assert sum(size <= 3 for size in board.sizes) == 3


def test_a_model_that_no_board_has_room_for_is_the_only_one_without_a_time(tmp_path: Path) -> None:
    models = {name: write_add_model(tmp_path / f"{name}.onnx") for name in ("reference", "a", "large", "c")}
    found = source_of(SmallBoard(most=9, too_large="large")).measure(models, feed=FEED, references=("reference",))
    assert {name for name, estimate in found.items() if isinstance(estimate, LatencyError)} == {"large"}
    assert "large" in str(found["large"])


def test_a_reference_that_no_board_has_room_for_ends_the_measurement(tmp_path: Path) -> None:
    models = {name: write_add_model(tmp_path / f"{name}.onnx") for name in ("reference", "a", "b")}
    with pytest.raises(PackageRefusedError, match="package of"):
        source_of(SmallBoard(most=9, too_large="reference")).measure(models, feed=FEED, references=("reference",))
