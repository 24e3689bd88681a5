"""The commands that measure: install, tune and profile, on a real package."""

from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_agent.commands.context import Context
from drupelet_agent.commands.installing import FetchProgress, install, tune
from drupelet_agent.commands.profiling import profile
from drupelet_agent.errors import NotInstalledError, WrongPackageError
from drupelet_shared.contract.commands import InstallRequest, ProfileRequest, TuneRequest
from drupelet_shared.errors import SourceError
from support.agent.installed import InstalledBench


@pytest.fixture
def bench(tmp_path: Path) -> InstalledBench:
    return InstalledBench(tmp_path)


def context(bench: InstalledBench) -> Context:
    return Context(bench.config, bench.progress.append)


@pytest.mark.slow
def test_a_package_is_received_installed_tuned_and_profiled(bench: InstalledBench) -> None:
    package = bench.package()
    installed = install(InstallRequest(source=package.as_uri(), model="digits", version="1.0.0"), context(bench))
    assert (installed.model, installed.version, installed.release) == ("digits", "1.0.0", 1)
    assert bench.stages == ["received", "verified", "golden_check", "measured", "tuned", "active"]
    assert bench.progress[0].detail.startswith(package.name)
    assert bench.store.record("digits").changes[-1].why == f"asked for over MQTT, from {package.as_uri()}"

    bench.progress.clear()
    assert tune(TuneRequest(model="digits"), context(bench)).release == 1
    assert "golden_check" in bench.stages
    assert bench.store.record("digits").changes[-1].why == "asked for over MQTT"

    report = profile(ProfileRequest(model="digits", runs=5), context(bench))
    assert (report.model, report.variant, report.engine, report.runs) == ("digits", "ort-fp32", "onnxruntime", 5)
    assert any("MatMul" in operator.type or "Gemm" in operator.type for operator in report.operators)


@pytest.mark.slow
def test_a_package_can_be_staged(bench: InstalledBench) -> None:
    install(InstallRequest(source=bench.package().as_uri(), activate=False), context(bench))
    assert (bench.store.active(), bench.stages[-1]) == ({}, "staged")


def test_another_package_than_the_request_names_is_refused(bench: InstalledBench) -> None:
    with pytest.raises(WrongPackageError):
        install(InstallRequest(source=bench.package().as_uri(), model="faces"), context(bench))


def test_a_source_that_does_not_exist_is_refused(bench: InstalledBench) -> None:
    with pytest.raises(SourceError):
        install(InstallRequest(source="file:///missing.drupe"), context(bench))


def test_what_is_not_installed_cannot_be_tuned_or_profiled(bench: InstalledBench) -> None:
    bench.store.create()
    with pytest.raises(NotInstalledError):
        tune(TuneRequest(model="digits"), context(bench))
    with pytest.raises(NotInstalledError):
        profile(ProfileRequest(model="digits"), context(bench))


class TestDownloadProgress:
    def test_the_first_and_the_last_bytes_are_reported_and_few_between(self, bench: InstalledBench) -> None:
        fetching = FetchProgress(context(bench))
        for done in range(1001):
            fetching(done, 1000)
        assert 2 <= len(bench.progress) < 500
        first, last = bench.progress[0], bench.progress[-1]
        assert (first.done_bytes, first.total_bytes, first.stage) == (0, 1000, "fetching")
        assert (last.done_bytes, last.detail) == (1000, "1.0 KB of 1.0 KB")

    def test_a_server_that_tells_no_size_has_no_total(self, bench: InstalledBench) -> None:
        FetchProgress(context(bench))(500, None)
        assert (bench.progress[0].detail, bench.progress[0].total_bytes) == ("500 B", None)
