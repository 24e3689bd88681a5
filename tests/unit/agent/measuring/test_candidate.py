"""A compiler's candidate: what is refused, what is reported, and that nothing of it stays."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from drupelet_agent.commands.context import Context
from drupelet_agent.commands.measuring import measure
from drupelet_agent.errors import WrongTargetError
from drupelet_agent.measuring.candidate import measure as measure_candidate
from drupelet_agent.measuring.gate import ServingGate
from drupelet_shared.contract.measuring import MeasureReport, MeasureRequest
from drupelet_shared.errors import MeasuringForbiddenError, SignatureMissingError, SourceError
from support.agent.installed import InstalledBench
from support.package.served_packages import make_package


def make_bench(folder: Path, **trust: object) -> InstalledBench:
    return InstalledBench(folder, {"trust": {"folder": folder, "measure": True, **trust}})


def run(bench: InstalledBench, package: Path, **options: object) -> MeasureReport:
    request = MeasureRequest(source=package.as_uri(), max_seconds=0.05, max_wait_s=60.0, **options)  # type: ignore[arg-type]
    return measure(request, Context(bench.config, bench.progress.append))


def leftovers(bench: InstalledBench) -> list[str]:
    folder = bench.store.layout.candidates
    return [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


@pytest.mark.slow
def test_a_candidate_is_timed_and_removed(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    report = run(bench, bench.package(), layers=True)
    (timing,) = report.variants
    assert (timing.variant, timing.engine, timing.error) == ("ort-fp32", "onnxruntime", None)
    assert timing.runs > 0
    assert timing.p50_ms is not None
    assert timing.operators
    assert report.threads == 1
    assert bench.stages[0] == "verified"
    assert bench.progress[0].detail.startswith("digits 1.0.0, signed by ")
    assert leftovers(bench) == []
    assert bench.store.models() == ()


def test_a_device_measures_candidates_only_where_its_configuration_allows_it(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, measure=False)
    with pytest.raises(MeasuringForbiddenError, match=r"set trust\.measure = true"):
        run(bench, bench.package())
    assert bench.progress == []


def test_a_candidate_is_verified_like_a_package(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    with pytest.raises(SignatureMissingError):
        run(bench, make_package(tmp_path, None))
    with pytest.raises(SourceError):
        run(bench, tmp_path / "missing.drupe")
    assert (bench.progress, leftovers(bench)) == ([], [])


def test_a_candidate_for_another_device_is_refused(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, targets=["jetson"])
    with pytest.raises(WrongTargetError):
        run(bench, bench.package())
    assert leftovers(bench) == []


def test_a_file_is_opened_only_where_measuring_is_allowed(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, measure=False)

    def open_archive() -> AbstractContextManager[Path]:
        raise AssertionError

    request = MeasureRequest(source="file:///x")
    with pytest.raises(MeasuringForbiddenError):
        measure_candidate(
            request, bench.config, open_archive=open_archive, gate=ServingGate(), observe=bench.progress.append
        )
    assert not bench.store.root.exists()
