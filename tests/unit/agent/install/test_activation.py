"""From a package file to an active release: the steps, and what stays behind after an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_agent.errors import (
    NotInstalledError,
    PlanError,
    ReleaseTooOldError,
    StoreBusyError,
    StoreError,
    WrongPackageError,
    WrongTargetError,
)
from drupelet_agent.install.activation import Progress, install, put_in_place, stored_manifest, tune
from drupelet_agent.install.binding import Expected
from drupelet_agent.install.checking import check
from drupelet_agent.store.measurements import KeptMeasurements
from drupelet_agent.store.store import Store
from drupelet_shared.errors import SignatureMissingError, SignatureUntrustedError
from support.agent.fleet_bench import install as put
from support.agent.installed import InstalledBench
from support.agent.values import make_activation
from support.package.served_packages import make_keys, make_package


@pytest.fixture
def bench(tmp_path: Path) -> InstalledBench:
    return InstalledBench(tmp_path)


class TestInstall:
    """With real packages and real workers."""

    pytestmark = pytest.mark.slow

    def test_a_package_is_verified_measured_and_made_active(self, bench: InstalledBench) -> None:
        activation = bench.install(bench.package())
        assert bench.stages == ["verified", "golden_check", "measured", "tuned", "active"]
        assert bench.store.active() == {"digits": activation}
        assert (activation.version, activation.release, activation.variant) == ("1.0.0", 1, "ort-fp32")
        assert activation.signed_by is not None
        assert bench.store.package_folder(activation.digest).is_dir()
        assert len(bench.store.measurements(activation.digest).by_conditions) == 1
        assert bench.store.record("digits").changes[-1].why == "asked for"
        assert bench.leftovers() == [activation.digest]

    def test_a_package_can_be_installed_without_being_activated(self, bench: InstalledBench) -> None:
        activation = bench.install(bench.package(), activate=False)
        assert bench.stages[-1] == "staged"
        assert bench.store.active() == {}
        assert bench.store.record("digits").staged == activation

    def test_the_same_package_again_is_not_measured_again(self, bench: InstalledBench) -> None:
        package = bench.package()
        bench.install(package)
        bench.progress.clear()
        bench.install(package)
        assert bench.stages == ["verified", "measured", "tuned", "active"]
        assert bench.progress[1].detail.endswith("(known)")

    def test_an_older_release_is_refused_before_it_is_measured(self, bench: InstalledBench) -> None:
        newer = bench.install(bench.package(release=2))
        bench.progress.clear()
        with pytest.raises(ReleaseTooOldError):
            bench.install(bench.package(release=1))
        assert bench.stages == ["verified"]
        assert bench.leftovers() == [newer.digest]

    def test_a_package_that_disagrees_with_its_golden_vectors_leaves_nothing_behind(
        self, bench: InstalledBench
    ) -> None:
        with pytest.raises(PlanError, match="golden"):
            bench.install(bench.package(golden_error=1.0))
        assert bench.leftovers() == []
        assert bench.store.models() == ()

    def test_a_new_plan_keeps_the_release_and_is_remembered_with_its_reason(self, bench: InstalledBench) -> None:
        active = bench.install(bench.package())
        bench.progress.clear()
        tuned = tune("digits", bench.config, why="hot", fresh=True, observe=bench.progress.append)
        assert bench.stages == ["golden_check", "measured", "tuned", "active"]
        assert (tuned.release, tuned.digest) == (active.release, active.digest)
        assert bench.store.active() == {"digits": tuned}
        assert [(change.what, change.why) for change in bench.store.record("digits").changes] == [
            ("installed", "asked for"),
            ("tuned", "hot"),
        ]

    def test_a_plan_for_a_release_that_was_replaced_meanwhile_is_dropped(self, bench: InstalledBench) -> None:
        bench.install(bench.package())
        newer = make_activation(release=2)

        def replace(progress: Progress) -> None:
            if progress.stage == "tuned":
                put(bench.store, newer)

        with pytest.raises(StoreError, match="release 1 is no longer active"):
            tune("digits", bench.config, why="hot", fresh=False, observe=replace)
        assert bench.store.active() == {"digits": newer}

    def test_a_check_compares_with_the_golden_vectors_and_the_contract(self, tmp_path: Path) -> None:
        bench = InstalledBench(tmp_path, {"contract": {"p99_ms": 10_000.0}})
        active = bench.install(bench.package())
        result = check("digits", bench.config)
        assert (result.model, result.release, result.variant, result.golden) == ("digits", 1, "ort-fp32", True)
        assert result.fault is None
        assert result.p99_ms is not None
        assert (result.planned_p99_ms, result.limit_p99_ms) == (active.plan.p99_ms, 10_000.0)
        assert result.as_json()["p99_ms"] == result.p99_ms

        strict = bench.config.model_copy(update={"contract": bench.config.contract.model_copy(update={"p99_ms": 1e-6})})
        broken = check("digits", strict)
        assert broken.fault is not None
        assert broken.fault.endswith("the contract allows 0.00 ms")

        model = bench.store.package_folder(active.digest) / "variants/ort-fp32/model.onnx"
        model.write_bytes(b"damaged")
        damaged = check("digits", bench.config)
        assert (damaged.golden, damaged.p99_ms) == (False, None)
        assert damaged.fault is not None


class TestRefusal:
    """What is refused before a worker is started."""

    def refuse(self, bench: InstalledBench, package: Path, error: type[Exception], **options: object) -> None:
        with pytest.raises(error):
            bench.install(package, **options)
        assert bench.leftovers() == []
        assert "measured" not in bench.stages

    def test_a_package_without_a_signature(self, bench: InstalledBench) -> None:
        self.refuse(bench, make_package(bench.folder, None), SignatureMissingError)

    def test_a_package_of_a_key_that_is_not_trusted(self, bench: InstalledBench, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        keys = make_keys(tmp_path / "other", "stranger")
        self.refuse(bench, make_package(bench.folder, keys), SignatureUntrustedError)

    def test_a_package_for_another_device(self, tmp_path: Path) -> None:
        bench = InstalledBench(tmp_path, {"trust": {"folder": tmp_path, "targets": ["jetson"]}})
        self.refuse(bench, bench.package(), WrongTargetError)

    @pytest.mark.parametrize("expected", [Expected(model="faces"), Expected(version="9"), Expected(digest="a" * 64)])
    def test_another_package_than_expected(self, bench: InstalledBench, expected: Expected) -> None:
        self.refuse(bench, bench.package(), WrongPackageError, expected=expected)

    def test_any_package_while_another_process_changes_the_store(self, bench: InstalledBench) -> None:
        package = bench.package()
        with bench.store.writer(), pytest.raises(StoreBusyError):
            install(package, bench.config, observe=bench.progress.append)
        assert bench.progress == []

    def test_tuning_and_checking_a_model_that_is_not_installed(self, bench: InstalledBench) -> None:
        with pytest.raises(NotInstalledError):
            tune("digits", bench.config, why="hot", fresh=True, observe=bench.progress.append)
        with pytest.raises(NotInstalledError):
            check("digits", bench.config)


def test_a_manifest_that_is_gone_is_an_error_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"store package .*: No such file.*manifest"):
        stored_manifest(tmp_path)


@pytest.mark.parametrize("activate", [True, False])
def test_the_last_steps_commit_record_and_collect(
    tmp_path: Path,
    activate: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    store = Store(tmp_path)
    store.create()
    for release in (1, 2):
        put(store, make_activation(release=release))
    third = make_activation(release=3)
    kept = KeptMeasurements(by_conditions={"cool": ()})
    with store.writer() as writer, writer.staging_folder() as folder:
        (folder / "package").mkdir()
        put_in_place(writer, folder / "package", third, kept, activate=activate, why="because")
    record = store.record("digits")
    expected = (3, 2, None) if activate else (2, 1, 3)
    assert tuple(one and one.release for one in (record.active, record.previous, record.staged)) == expected
    assert store.measurements(third.digest) == kept
    assert store.package_folder(third.digest).is_dir()
    assert store.package_folder(make_activation(release=1).digest).is_dir() is not activate
    assert record.changes[-1].why == ("because" if activate else "asked for")
