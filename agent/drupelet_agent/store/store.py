"""The store: staging, packages by digest, and one record a model, each change one atomic rename.

<root>/lock                 held by the process that changes the store
<root>/staging/<random>/    being unpacked and checked; emptied by the next writer
<root>/packages/<digest>/   whole, verified packages
<root>/models/<model>.json  which of them is active
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from drupelet_agent.errors import NoPreviousError, NotInstalledError, ReleaseTooOldError, StoreBusyError, StoreError
from drupelet_agent.store.records import Activation, ModelRecord
from drupelet_shared.files import sync_folder, write_atomically
from drupelet_shared.names import check_name


class Store:
    """The store under one folder; reading needs no lock, changing needs `lock()`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._models = root / "models"
        self._packages = root / "packages"
        self._staging = root / "staging"

    def create(self) -> None:
        """Make the folders.

        Raises:
            StoreError: The folder cannot be made or written.
        """
        try:
            for folder in (self._models, self._packages, self._staging):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"store {self._root}: {error.strerror}") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the one process that changes the store, and clear what an interrupted one left behind.

        Raises:
            StoreBusyError: Another process is.
        """
        self.create()
        with (self._root / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreBusyError(f"store {self._root}: another process is changing it") from error
            self._clear_staging()
            yield

    def _clear_staging(self) -> None:
        for leftover in self._staging.iterdir():
            shutil.rmtree(leftover)

    @contextmanager
    def staging_folder(self) -> Iterator[Path]:
        """A folder inside the store that is gone afterwards unless `commit` moved it away."""
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
            installed = ", ".join(self.models()) or "none"
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
        same = any(known is not None and known.digest == digest for known in (record.active, record.previous))
        if release < record.highest_release or (release == record.highest_release and not same):
            raise ReleaseTooOldError(
                f"{model} release {release}: this device has activated release {record.highest_release}; "
                "a new package needs a higher one, and `drupelet-agent rollback` goes back on purpose"
            )

    def commit(self, folder: Path, digest: str) -> Path:
        """Move a verified package out of staging; a package that is there already stays as it is."""
        destination = self.package_folder(digest)
        if not destination.exists():
            folder.rename(destination)
            sync_folder(self._packages)
        return destination

    def activate(self, activation: Activation) -> None:
        """Make a committed package the active release of its model; the one before it can be rolled back to."""
        record = self.record(activation.model)
        previous = record.active
        if previous is not None and previous.digest == activation.digest:
            previous = record.previous
        highest = max(record.highest_release, activation.release)
        self._write(activation.model, ModelRecord(highest_release=highest, active=activation, previous=previous))

    def roll_back(self, model: str) -> Activation:
        """Swap the active release with the one before it.

        Raises:
            NotInstalledError: There is no such model.
            NoPreviousError: There is no release before the active one.
        """
        active, record = self.require_active(model), self.record(model)
        if record.previous is None or not self.package_folder(record.previous.digest).is_dir():
            raise NoPreviousError(f"model {model!r} has no release before {active.release}")
        self._write(model, record.model_copy(update={"active": record.previous, "previous": active}))
        return record.previous

    def collect(self) -> None:
        """Remove packages that no record refers to."""
        records = [self.record(model) for model in self.models()]
        wanted = {known.digest for record in records for known in (record.active, record.previous) if known}
        for folder in self._packages.iterdir():
            if folder.name not in wanted:
                shutil.rmtree(folder)

    def _record_path(self, model: str) -> Path:
        return self._models / f"{check_name(model, what='model')}.json"

    def _write(self, model: str, record: ModelRecord) -> None:
        write_atomically(self._record_path(model), record.model_dump_json(indent=2).encode())
