"""The store on disk."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from drupelet_agent.errors import (
    NoPreviousError,
    NotInstalledError,
    ReleaseChangedError,
    ReleaseTooOldError,
    StoreBusyError,
    StoreError,
)
from drupelet_agent.store.measurements import KeptMeasurements
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store
from drupelet_agent.store.writer import StoreWriter
from support.agent.values import make_activation


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "state")
    store.create()
    return store


def put(store: Store, activation: Activation) -> None:
    """Commit a package folder and activate it, as an installation does."""
    with store.writer() as writer, writer.staging_folder() as folder:
        (folder / "package").mkdir()
        writer.commit(folder / "package", activation.digest)
        writer.activate(activation)
        writer.collect()


def roll_back(store: Store, model: str, *, because: str | None = None) -> Activation:
    """Roll a model back, as the command or the agent itself does."""
    with store.writer() as writer:
        return writer.roll_back(model, because=because)


def retune(store: Store, activation: Activation, *, why: str) -> None:
    """Give a release another plan, as a measurement does."""
    with store.writer() as writer:
        writer.retune(activation, why=why)


def test_an_activated_release_is_the_target_state(store: Store) -> None:
    activation = make_activation()
    put(store, activation)
    assert store.active() == {"digits": activation}


def test_a_second_process_cannot_change_the_store_meanwhile(store: Store, tmp_path: Path) -> None:
    with store.writer(), pytest.raises(StoreBusyError), Store(tmp_path / "state").writer():
        pass


def test_the_next_writer_clears_what_an_interrupted_one_left(store: Store, tmp_path: Path) -> None:
    leftover = tmp_path / "state/staging/abandoned"
    leftover.mkdir()
    (leftover / "part").write_bytes(b"half")
    with store.writer():
        assert not leftover.exists()


def test_staging_is_empty_after_a_failed_installation(store: Store, tmp_path: Path) -> None:
    def fail_halfway() -> None:
        with store.writer() as writer, writer.staging_folder() as folder:
            (folder / "part").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert list((tmp_path / "state/staging").iterdir()) == []


def test_rolling_back_swaps_the_two_latest_releases(store: Store) -> None:
    first, second = make_activation(release=1), make_activation(release=2)
    put(store, first)
    put(store, second)
    assert roll_back(store, "digits") == first
    assert store.active() == {"digits": first}
    assert roll_back(store, "digits") == second


def test_the_highest_release_is_remembered_through_a_rollback(store: Store) -> None:
    put(store, make_activation(release=1))
    put(store, make_activation(release=2))
    roll_back(store, "digits")
    with pytest.raises(ReleaseTooOldError, match="release 1: this device has activated release 2"):
        store.check_release("digits", release=1, digest="c" * 64)


def test_an_equal_release_with_other_content_is_refused(store: Store) -> None:
    put(store, make_activation(release=2))
    with pytest.raises(ReleaseTooOldError):
        store.check_release("digits", release=2, digest="c" * 64)


def test_the_same_package_may_be_installed_again(store: Store) -> None:
    activation = make_activation(release=2)
    put(store, make_activation(release=1))
    put(store, activation)
    store.check_release("digits", release=2, digest=activation.digest)
    put(store, activation)
    assert roll_back(store, "digits") == make_activation(release=1)


def test_packages_nobody_refers_to_are_collected(store: Store) -> None:
    for release in (1, 2, 3):
        put(store, make_activation(release=release))
    present = [store.package_folder(f"{release:064x}").is_dir() for release in (1, 2, 3)]
    assert present == [False, True, True]


def test_rolling_back_an_unknown_model_names_the_known_ones(store: Store) -> None:
    put(store, make_activation("faces"))
    with pytest.raises(NotInstalledError, match="'digits' is not installed; installed: faces"):
        roll_back(store, "digits")


def test_rolling_back_the_first_release_is_refused(store: Store) -> None:
    put(store, make_activation())
    with pytest.raises(NoPreviousError):
        roll_back(store, "digits")


def test_a_damaged_record_is_named(store: Store, tmp_path: Path) -> None:
    (tmp_path / "state/models/digits.json").write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match=r"digits\.json: damaged"):
        store.record("digits")


def test_the_fingerprint_changes_with_every_activation(store: Store) -> None:
    before = store.fingerprint()
    put(store, make_activation(release=1))
    between = store.fingerprint()
    put(store, make_activation(release=2))
    assert len({before, between, store.fingerprint()}) == 3


def test_a_store_that_cannot_be_made_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="file/state"):
        Store(tmp_path / "file/state").create()


def test_a_new_plan_keeps_the_release_before_and_is_remembered_with_its_reason(store: Store) -> None:
    put(store, make_activation(release=1))
    put(store, make_activation(release=2))
    tuned = make_activation(release=2, variant="ort-static-wi8-ai8")
    retune(store, tuned, why="usable cores 2 -> 4")
    record = store.record("digits")
    assert (record.active, record.previous) == (tuned, make_activation(release=1))
    assert [(change.what, change.release) for change in record.changes] == [
        ("installed", 1),
        ("installed", 2),
        ("tuned", 2),
    ]
    assert record.changes[-1].why == "usable cores 2 -> 4"
    assert record.changes[-1].runs == "ort-static-wi8-ai8, 1 x 1 threads, p99 2.00 ms"


def test_a_plan_for_a_release_that_is_no_longer_active_is_refused(store: Store) -> None:
    put(store, make_activation(release=1))
    put(store, make_activation(release=2))
    with pytest.raises(StoreError, match="release 1 is no longer active"):
        retune(store, make_activation(release=1), why="late")
    assert store.active()["digits"].release == 2


def test_a_roll_back_says_whether_somebody_asked_for_it(store: Store) -> None:
    put(store, make_activation(release=1))
    put(store, make_activation(release=2))
    roll_back(store, "digits", because="it broke its contract")
    roll_back(store, "digits")
    changes = store.record("digits").changes[-2:]
    assert [(change.what, change.why) for change in changes] == [
        ("rolled_back_by_itself", "it broke its contract"),
        ("rolled_back", "asked for, from release 1"),
    ]


def test_only_the_latest_changes_are_kept(store: Store) -> None:
    put(store, make_activation())
    for number in range(30):
        retune(store, make_activation(), why=str(number))
    assert [change.why for change in store.record("digits").changes] == [str(number) for number in range(20, 30)]


def test_one_process_measures_at_a_time_and_others_can_tell(store: Store, tmp_path: Path) -> None:
    assert not store.is_measuring()
    other = Store(tmp_path / "state")
    with store.measuring(timeout_s=0.0):
        assert other.is_measuring()
        with pytest.raises(StoreBusyError, match="another process is measuring"), other.measuring(timeout_s=0.1):
            pass
    assert not other.is_measuring()


def test_measuring_does_not_keep_others_from_changing_the_store(store: Store, tmp_path: Path) -> None:
    with store.measuring(timeout_s=0.0), Store(tmp_path / "state").writer():
        pass


def test_measurements_go_with_their_package(store: Store) -> None:
    for release in (1, 2, 3):
        activation = make_activation(release=release)
        with store.writer() as writer:
            writer.keep_measurements(activation.digest, KeptMeasurements(by_conditions={str(release): ()}))
        put(store, activation)
    kept = [store.measurements(f"{n:064x}").by_conditions for n in (1, 2, 3)]
    assert kept == [{}, {"2": ()}, {"3": ()}]


def test_damaged_measurements_are_as_good_as_none(store: Store) -> None:
    digest = f"{1:064x}"
    store.layout.measurements_of(digest).write_text("{", encoding="utf-8")
    assert store.measurements(digest) == KeptMeasurements()


def test_nothing_can_change_a_store_without_its_lock() -> None:
    changes = set(vars(StoreWriter)) - {"__init__"}
    assert {"activate", "stage", "retune", "remove", "roll_back", "commit", "collect"} <= changes
    assert not any(hasattr(Store, name) for name in changes if not name.startswith("__"))


def test_asking_whether_a_process_measures_makes_no_file(store: Store) -> None:
    assert not store.is_measuring()
    assert not store.layout.measuring_lock.exists()


def test_a_record_that_cannot_be_read_is_a_store_error(store: Store) -> None:
    (store.layout.models / "digits.json").mkdir()
    with pytest.raises(StoreError, match="Is a directory"):
        store.record("digits")


def test_a_folder_that_is_gone_is_a_store_error(store: Store) -> None:
    store.layout.models.rmdir()
    with pytest.raises(StoreError, match="No such file"):
        store.fingerprint()


def stage(store: Store, activation: Activation) -> None:
    """Install a release without making it active."""
    with store.writer() as writer, writer.staging_folder() as folder:
        (folder / "package").mkdir()
        writer.commit(folder / "package", activation.digest)
        writer.stage(activation)


def activate_installed(store: Store, model: str = "digits", *, release: int | None = None) -> Activation:
    with store.writer() as writer:
        return writer.activate_installed(model, release=release)


class TestStaging:
    FIRST, SECOND, THIRD = (make_activation(release=release) for release in (1, 2, 3))

    def test_a_staged_release_waits_beside_the_active_one(self, store: Store) -> None:
        put(store, self.FIRST)
        stage(store, self.SECOND)
        record = store.record("digits")
        assert (record.active, record.previous, record.staged) == (self.FIRST, None, self.SECOND)
        assert (record.changes[-1].what, record.highest_release) == ("staged", 1)

    def test_activation_takes_the_newest_installed_release(self, store: Store) -> None:
        put(store, self.FIRST)
        stage(store, self.SECOND)
        assert activate_installed(store) == self.SECOND
        record = store.record("digits")
        assert (record.active, record.previous, record.staged) == (self.SECOND, self.FIRST, None)
        assert (record.changes[-1].what, record.changes[-1].why) == ("activated", "asked for")

    def test_activation_takes_the_release_that_is_named(self, store: Store) -> None:
        put(store, self.FIRST)
        stage(store, self.SECOND)
        with pytest.raises(NotInstalledError, match="'digits': release 3 is not installed; installed releases: 1, 2"):
            activate_installed(store, release=3)
        assert activate_installed(store, release=2) == self.SECOND

    def test_a_release_that_is_not_newer_than_the_active_one_is_not_activated(self, store: Store) -> None:
        put(store, self.FIRST)
        put(store, self.SECOND)
        for release in (1, 2, None):
            with pytest.raises(ReleaseTooOldError, match="release 2 is active; `rollback` goes back"):
                activate_installed(store, release=release)

    def test_a_model_that_was_never_installed_has_nothing_to_activate(self, store: Store) -> None:
        with pytest.raises(NotInstalledError, match="'digits': any release is not installed; installed releases: none"):
            activate_installed(store)

    def test_a_first_release_can_be_staged_and_activated(self, store: Store) -> None:
        stage(store, self.FIRST)
        assert store.active() == {}
        assert activate_installed(store) == self.FIRST
        assert store.active() == {"digits": self.FIRST}

    def test_another_staged_release_survives_an_activation(self, store: Store) -> None:
        stage(store, self.THIRD)
        put(store, self.SECOND)
        assert store.record("digits").staged == self.THIRD

    def test_a_roll_back_keeps_the_staged_release(self, store: Store) -> None:
        put(store, self.FIRST)
        put(store, self.SECOND)
        stage(store, self.THIRD)
        roll_back(store, "digits")
        assert store.record("digits").staged == self.THIRD

    def test_a_new_plan_keeps_the_staged_release(self, store: Store) -> None:
        put(store, self.SECOND)
        stage(store, self.THIRD)
        retune(store, make_activation(release=2, variant="other"), why="hot")
        assert store.record("digits").staged == self.THIRD


def test_a_package_that_is_committed_twice_keeps_its_first_folder(store: Store) -> None:
    digest = "a" * 64
    for content in ("first", "second"):
        with store.writer() as writer, writer.staging_folder() as folder:
            (folder / "package").mkdir()
            (folder / "package/file").write_text(content, encoding="utf-8")
            assert writer.commit(folder / "package", digest) == store.package_folder(digest)
    assert (store.package_folder(digest) / "file").read_text(encoding="utf-8") == "first"


def test_a_removed_model_keeps_only_its_highest_release(store: Store) -> None:
    put(store, make_activation(release=1))
    put(store, make_activation(release=2))
    with store.writer() as writer:
        assert writer.remove("digits") == make_activation(release=2)
        writer.collect()
    record = store.record("digits")
    assert (record.releases, record.highest_release, record.changes[-1].what) == ((), 2, "removed")
    assert list(store.layout.packages.iterdir()) == []


def test_a_roll_back_from_a_release_that_is_not_active_is_refused(store: Store) -> None:
    put(store, make_activation(release=1))
    put(store, make_activation(release=2))
    with store.writer() as writer:
        with pytest.raises(ReleaseChangedError, match="release 2 is active, not 1"):
            writer.roll_back("digits", from_release=1)
        assert writer.roll_back("digits", from_release=2).release == 1


def test_a_release_whose_package_is_gone_is_not_restored(store: Store) -> None:
    put(store, make_activation(release=1))
    put(store, make_activation(release=2))
    store.package_folder(make_activation(release=1).digest).rmdir()
    with pytest.raises(NoPreviousError):
        roll_back(store, "digits")


def test_a_new_plan_is_written_with_what_was_measured_for_it(store: Store) -> None:
    activation = make_activation()
    put(store, activation)
    kept = KeptMeasurements(by_conditions={"cool": ()})
    with store.writer() as writer:
        writer.retune(activation, why="hot", measurements=kept)
    assert store.measurements(activation.digest) == kept


def test_the_next_writer_removes_temporary_files_and_no_others(store: Store) -> None:
    put(store, make_activation())
    for folder in (store.layout.models, store.layout.measurements):
        (folder / ".half-written").write_text("{", encoding="utf-8")
    with store.writer():
        pass
    assert [path.name for path in store.layout.models.iterdir()] == ["digits.json"]
    assert list(store.layout.measurements.glob(".*")) == []


def test_changes_are_dated_to_the_second(store: Store) -> None:
    put(store, make_activation())
    at = store.record("digits").changes[-1].at
    assert (at.microsecond, at.utcoffset()) == (0, timedelta(0))


def test_a_store_that_exists_is_created_again_without_a_change(store: Store) -> None:
    before = store.layout.models.stat().st_mtime_ns
    store.create()
    assert store.layout.models.stat().st_mtime_ns == before
