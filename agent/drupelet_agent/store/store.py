"""The store: staging, packages by digest, and one record a model, each change one atomic rename.

<root>/lock                 held by the process that changes the store
<root>/desired.json         what the broker said is desired
<root>/incoming/            package files as they arrive over the network
<root>/staging/<random>/    being unpacked and checked; emptied by the next writer
<root>/packages/<digest>/   whole, verified packages
<root>/models/<model>.json  which of them is active
<root>/measurements/        what was measured of each package; may be lost at any time
<root>/measurements/lock    held by the process that measures, so that no two disturb each other
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from drupelet_agent.errors import (
    NoPreviousError,
    NotInstalledError,
    ReleaseChangedError,
    ReleaseTooOldError,
    StoreBusyError,
    StoreError,
    store_errors,
)
from drupelet_agent.store.locks import held
from drupelet_agent.store.records import Activation, ModelRecord
from drupelet_shared.contract.messages import ChangeKind, PlanChange
from drupelet_shared.files import sync_folder, write_atomically
from drupelet_shared.names import check_name


class Store:
    """The store under one folder; reading needs no lock, changing needs `lock()`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._models = root / "models"
        self._packages = root / "packages"
        self._staging = root / "staging"
        self._measurements = root / "measurements"

    @property
    def root(self) -> Path:
        """The folder of the store."""
        return self._root

    def create(self) -> None:
        """Make the folders.

        Raises:
            StoreError: The folder cannot be made or written.
        """
        with store_errors(self._root):
            missing = [
                folder
                for folder in (self._models, self._packages, self._staging, self._measurements)
                if not folder.is_dir()
            ]
            for folder in missing:
                folder.mkdir(parents=True, exist_ok=True)
            if missing:
                # Without the folders themselves nothing in them would outlive a power cut.
                sync_folder(self._root)
                sync_folder(self._root.parent)

    @contextmanager
    def lock(self, *, patience_s: float = 0.0) -> Iterator[None]:
        """Be the one process that changes the store, and clear what an interrupted one left behind.

        Args:
            patience_s: How long to wait for another.

        Raises:
            StoreBusyError: Another process is.
        """
        self.create()
        with held(self._root / "lock", what=f"store {self._root}", doing="changing it", patience_s=patience_s):
            with store_errors(self._root):
                self._clear_leftovers()
            yield

    @contextmanager
    def measuring(self, *, patience_s: float) -> Iterator[None]:
        """Be the one process that measures on this device.

        Args:
            patience_s: How long to wait for another; `is_measuring` of another process is one for a moment.

        Raises:
            StoreBusyError: Another process is.
        """
        self.create()
        path = self._measurements / "lock"
        with held(path, what=f"store {self._root}", doing="measuring", patience_s=patience_s):
            yield

    def is_measuring(self) -> bool:
        """Whether some process measures now, which makes everything else slower meanwhile."""
        try:
            with self.measuring(patience_s=0.0):
                return False
        except StoreBusyError:
            return True

    def _clear_leftovers(self) -> None:
        for leftover in self._staging.iterdir():
            shutil.rmtree(leftover)
        # Temporary files of writes that were cut off; measurements have a lock of their own, which is no such file.
        for folder in (self._models, self._measurements):
            for leftover in folder.glob(".*"):
                leftover.unlink()

    @contextmanager
    def staging_folder(self) -> Iterator[Path]:
        """A folder inside the store that is gone afterwards unless `commit` moved it away."""
        with store_errors(self._root):
            folder = Path(tempfile.mkdtemp(dir=self._staging))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def free_bytes(self) -> int:
        """Room left on the store's file system for an unprivileged writer."""
        return shutil.disk_usage(self._root).free

    def package_folder(self, digest: str) -> Path:
        """Where the package of that digest lies, or would lie."""
        return self._packages / digest

    def record(self, model: str) -> ModelRecord:
        """What is known of a model; an empty record where nothing is.

        Raises:
            StoreError: The record on disk is damaged.
        """
        path = self._record_path(model)
        try:
            return ModelRecord.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return ModelRecord()
        except ValidationError as error:
            raise StoreError(f"store record {path}: damaged: {error}") from error

    def models(self) -> tuple[str, ...]:
        """The models there are records of."""
        return tuple(sorted(path.stem for path in self._models.glob("*.json") if not path.name.startswith(".")))

    def changed_s(self, model: str) -> float:
        """When a model's record was written last, by the device's clock; 0 if there is none."""
        try:
            return self._record_path(model).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def active(self) -> dict[str, Activation]:
        """The active release of each model: the target state of this device."""
        records = {model: self.record(model) for model in self.models()}
        return {model: record.active for model, record in records.items() if record.active is not None}

    def require_active(self, model: str) -> Activation:
        """The active release of a model.

        Raises:
            NotInstalledError: There is none.
        """
        active = self.record(model).active
        if active is None:
            installed = ", ".join(self.active()) or "none"
            raise NotInstalledError(f"model {model!r} is not installed; installed: {installed}")
        return active

    def fingerprint(self) -> frozenset[tuple[str, int, int]]:
        """A value that changes whenever a record does; cheap enough to look at twice a second."""
        stats = ((entry.name, entry.stat()) for entry in os.scandir(self._models) if entry.name.endswith(".json"))
        return frozenset((name, stat.st_ino, stat.st_mtime_ns) for name, stat in stats)

    def check_release(self, model: str, *, release: int, digest: str) -> None:
        """Refuse a release that would take the device back.

        Raises:
            ReleaseTooOldError: It is lower than the highest this device has activated, or equal with other content.
        """
        record = self.record(model)
        same = digest == record.highest_digest or any(known.digest == digest for known in record.releases)
        if release < record.highest_release or (release == record.highest_release and not same):
            raise ReleaseTooOldError(
                f"{model} release {release}: this device has activated release {record.highest_release}; "
                "a new package needs a higher one, and `drupelet-agent rollback` goes back on purpose"
            )

    def commit(self, folder: Path, digest: str) -> Path:
        """Move a verified package out of staging; a package that is there already stays as it is."""
        destination = self.package_folder(digest)
        if not destination.exists():
            with store_errors(self._root):
                folder.rename(destination)
                sync_folder(self._packages)
        return destination

    def activate(self, activation: Activation, *, why: str = "asked for", what: ChangeKind = "installed") -> None:
        """Make a committed package the active release of its model; the one before it can be rolled back to."""
        record = self.record(activation.model)
        previous = record.active
        if previous is not None and previous.digest == activation.digest:
            previous = record.previous
        staged = record.staged if record.staged and record.staged.digest != activation.digest else None
        change = _change(what, activation, why)
        self._write(activation.model, record.changed(change, active=activation, previous=previous, staged=staged))

    def stage(self, activation: Activation) -> None:
        """Keep a committed package beside the active release, for `activate_installed`; one that waited yields."""
        record = self.record(activation.model)
        change = _change("staged", activation, "asked for")
        self._write(
            activation.model,
            record.changed(change, active=record.active, previous=record.previous, staged=activation),
        )

    def activate_installed(self, model: str, *, release: int | None) -> Activation:
        """Make an installed release that is newer than the active one active.

        Args:
            model: The model.
            release: Which; the newest by default.

        Raises:
            NotInstalledError: There is no such release.
            ReleaseTooOldError: It is not newer than the active one.
        """
        record = self.record(model)
        found = [known for known in record.releases if release in {None, known.release}]
        if not found:
            installed = ", ".join(str(known.release) for known in record.releases) or "none"
            wanted = "any release" if release is None else f"release {release}"
            raise NotInstalledError(f"model {model!r}: {wanted} is not installed; installed releases: {installed}")
        activation = max(found, key=lambda known: known.release)
        if record.active is not None and activation.release <= record.active.release:
            raise ReleaseTooOldError(
                f"{model} release {activation.release}: release {record.active.release} is active; `rollback` goes back"
            )
        self.activate(activation, what="activated")
        return activation

    def retune(self, activation: Activation, *, why: str) -> None:
        """Give the active release another plan.

        Raises:
            StoreError: Another package has become active meanwhile.
        """
        record = self.record(activation.model)
        if record.active is None or record.active.digest != activation.digest:
            raise StoreError(f"model {activation.model!r}: release {activation.release} is no longer active")
        change = _change("tuned", activation, why)
        self._write(
            activation.model,
            record.changed(change, active=activation, previous=record.previous, staged=record.staged),
        )

    def remove(self, model: str) -> Activation:
        """Forget a model's releases, but not how far they had come; `collect` frees their packages.

        Returns:
            The release that was active.

        Raises:
            NotInstalledError: There is no such model.
        """
        active, record = self.require_active(model), self.record(model)
        self._write(model, record.changed(_change("removed", active, "asked for"), active=None, previous=None))
        return active

    def roll_back(self, model: str, *, because: str | None = None, from_release: int | None = None) -> Activation:
        """Swap the active release with the one before it.

        Args:
            model: The model.
            because: Why the agent does so by itself; None if a person asked for it.
            from_release: The release that must be active; whichever is by default.

        Raises:
            NotInstalledError: There is no such model.
            NoPreviousError: There is no release before the active one.
            ReleaseChangedError: Another release is active.
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

    def measurements_path(self, digest: str) -> Path:
        """Where the measurements of a package are kept."""
        return self._measurements / f"{digest}.json"

    def collect(self) -> None:
        """Remove packages that no record refers to, and what was measured of them."""
        wanted = {known.digest for model in self.models() for known in self.record(model).releases}
        with store_errors(self._root):
            for folder in self._packages.iterdir():
                if folder.name not in wanted:
                    # A package that is half gone must not be taken for a whole one.
                    leaving = self._staging / folder.name
                    folder.rename(leaving)
                    sync_folder(self._packages)
                    shutil.rmtree(leaving)
            for path in self._measurements.glob("*.json"):
                if path.stem not in wanted:
                    path.unlink()

    def _record_path(self, model: str) -> Path:
        return self._models / f"{check_name(model, what='model')}.json"

    def _write(self, model: str, record: ModelRecord) -> None:
        with store_errors(self._root):
            write_atomically(self._record_path(model), record.model_dump_json(indent=2).encode())


def incoming_folder(root: Path) -> Path:
    """Where package files lie until they are installed."""
    return root / "incoming"


def _change(what: ChangeKind, activation: Activation, why: str) -> PlanChange:
    plan = activation.plan
    return PlanChange(
        at=datetime.now(UTC).replace(microsecond=0),
        what=what,
        release=activation.release,
        runs=f"{activation.variant}, {plan.instances} x {plan.threads} threads, p99 {plan.p99_ms:.2f} ms",
        why=why,
    )
