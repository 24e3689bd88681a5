"""Changes the store: a writer exists only while its process holds the lock."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from drupelet_agent.errors import (
    NoPreviousError,
    NotInstalledError,
    ReleaseChangedError,
    ReleaseTooOldError,
    StoreError,
    store_errors,
)
from drupelet_agent.store.layout import StoreLayout
from drupelet_agent.store.measurements import KeptMeasurements, write_measurements
from drupelet_agent.store.reader import StoreReader
from drupelet_agent.store.records import Activation, ModelRecord
from drupelet_shared.contract.messages import ChangeKind, PlanChange
from drupelet_shared.files import sync_folder, write_atomically


class StoreWriter(StoreReader):
    """A store whose lock this process holds; `Store.writer()` makes one. Each change is one atomic rename."""

    def __init__(self, layout: StoreLayout) -> None:
        """Open the store for changes; the caller holds its lock.

        Args:
            layout: The paths of the store.
        """
        super().__init__(layout)
        with store_errors(layout.root):
            self._clear_leftovers()

    @contextmanager
    def staging_folder(self) -> Iterator[Path]:
        """Create a folder inside the store, and remove it afterwards unless `commit` moved it away."""
        with store_errors(self.root):
            folder = Path(tempfile.mkdtemp(dir=self.layout.staging))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, folder: Path, digest: str) -> Path:
        """Move a verified package out of staging, and return its folder; a package that exists already is left as is.

        Raises:
            StoreError: The file system fails, is full or read-only.
        """
        destination = self.layout.package(digest)
        if not destination.exists():
            with store_errors(self.root):
                folder.rename(destination)
                sync_folder(self.layout.packages)
        return destination

    def activate(self, activation: Activation, *, why: str = "asked for", what: ChangeKind = "installed") -> None:
        """Make a committed package the active release of its model; the release before it can be rolled back to.

        Args:
            activation: The release, with the plan it runs.
            why: The reason, for the record of changes.
            what: The kind of change.

        Raises:
            StoreError: The record is damaged, or the file system fails, is full or read-only.
        """
        record = self.record(activation.model)
        previous = record.active
        if previous is not None and previous.digest == activation.digest:
            previous = record.previous
        staged = record.staged if record.staged and record.staged.digest != activation.digest else None
        change = _change(what, activation, why)
        self._write(activation.model, record.changed(change, active=activation, previous=previous, staged=staged))

    def stage(self, activation: Activation) -> None:
        """Record a committed package as installed and not active, in place of the one staged before.

        Raises:
            StoreError: The record is damaged, or the file system fails, is full or read-only.
        """
        record = self.record(activation.model)
        change = _change("staged", activation, "asked for")
        self._write(
            activation.model,
            record.changed(change, active=record.active, previous=record.previous, staged=activation),
        )

    def activate_installed(self, model: str, *, release: int | None) -> Activation:
        """Make an installed release that is newer than the active one active, and return it.

        Args:
            model: The model.
            release: The release; None means the newest that is installed.

        Raises:
            NotInstalledError: The release is not installed.
            ReleaseTooOldError: The release is not newer than the active one.
        """
        record = self.record(model)
        candidates = [known for known in record.releases if release in {None, known.release}]
        if not candidates:
            installed = ", ".join(str(known.release) for known in record.releases) or "none"
            missing = "any release" if release is None else f"release {release}"
            raise NotInstalledError(f"model {model!r}: {missing} is not installed; installed releases: {installed}")
        activation = max(candidates, key=lambda known: known.release)
        if record.active is not None and activation.release <= record.active.release:
            raise ReleaseTooOldError(
                f"{model} release {activation.release}: release {record.active.release} is active; `rollback` goes back"
            )
        self.activate(activation, what="activated")
        return activation

    def retune(self, activation: Activation, *, why: str, measurements: KeptMeasurements | None = None) -> None:
        """Give the active release another plan.

        Args:
            activation: The release with its new plan.
            why: The reason, for the record of changes.
            measurements: The measurements that led to the plan, to be kept.

        Raises:
            StoreError: Another package is active by now, or the file system fails, is full or read-only.
        """
        record = self.record(activation.model)
        if record.active is None or record.active.digest != activation.digest:
            raise StoreError(f"model {activation.model!r}: release {activation.release} is no longer active")
        change = _change("tuned", activation, why)
        self._write(
            activation.model,
            record.changed(change, active=activation, previous=record.previous, staged=record.staged),
        )
        if measurements is not None:
            self.keep_measurements(activation.digest, measurements)

    def remove(self, model: str) -> Activation:
        """Remove a model's releases, and return the one that was active; its highest release is remembered.

        `collect` removes the packages.

        Raises:
            NotInstalledError: The model is not installed.
        """
        active, record = self.require_active(model), self.record(model)
        self._write(model, record.changed(_change("removed", active, "asked for"), active=None, previous=None))
        return active

    def roll_back(self, model: str, *, because: str | None = None, from_release: int | None = None) -> Activation:
        """Exchange the active release with the one before it, and return the latter.

        Args:
            model: The model.
            because: Why the agent rolls back on its own; None if a person asked for it.
            from_release: The release that must be active; None means any.

        Returns:
            The activation of the previous release.

        Raises:
            NotInstalledError: The model is not installed.
            NoPreviousError: There is no release before the active one.
            ReleaseChangedError: Another release than `from_release` is active.
        """
        active, record = self.require_active(model), self.record(model)
        if from_release not in {None, active.release}:
            raise ReleaseChangedError(f"model {model!r}: release {active.release} is active, not {from_release}")
        previous = record.previous
        if previous is None or not self.package_folder(previous.digest).is_dir():
            raise NoPreviousError(f"model {model!r} has no release before {active.release}")
        what: ChangeKind = "rolled_back" if because is None else "rolled_back_by_itself"
        change = _change(what, previous, because or f"asked for, from release {active.release}")
        self._write(model, record.changed(change, active=previous, previous=active, staged=record.staged))
        return previous

    def keep_measurements(self, digest: str, measurements: KeptMeasurements) -> None:
        """Write the measurements of a package.

        Raises:
            StoreError: The file system fails, is full or read-only.
        """
        with store_errors(self.root):
            write_measurements(self.layout.measurements_of(digest), measurements)

    def collect(self) -> None:
        """Remove the packages that no record refers to, with their measurements.

        Raises:
            StoreError: A record is damaged, or the file system fails or is read-only.
        """
        referenced = {known.digest for model in self.models() for known in self.record(model).releases}
        with store_errors(self.root):
            for folder in self.layout.packages.iterdir():
                if folder.name not in referenced:
                    # A partly removed package must not be mistaken for a complete one.
                    removed = self.layout.staging / folder.name
                    folder.rename(removed)
                    sync_folder(self.layout.packages)
                    shutil.rmtree(removed)
            for path in self.layout.measurements.glob("*.json"):
                if path.stem not in referenced:
                    path.unlink()

    def _clear_leftovers(self) -> None:
        for leftover in self.layout.staging.iterdir():
            shutil.rmtree(leftover)
        # Temporary files of interrupted writes.
        for folder in (self.layout.models, self.layout.measurements):
            for leftover in folder.glob(".*"):
                leftover.unlink()

    def _write(self, model: str, record: ModelRecord) -> None:
        with store_errors(self.root):
            write_atomically(self.layout.record(model), record.model_dump_json(indent=2).encode())


def _change(what: ChangeKind, activation: Activation, why: str) -> PlanChange:
    plan = activation.plan
    return PlanChange(
        at=datetime.now(UTC).replace(microsecond=0),
        what=what,
        release=activation.release,
        runs=f"{activation.variant}, {plan.instances} x {plan.threads} threads, p99 {plan.p99_ms:.2f} ms",
        why=why,
    )
