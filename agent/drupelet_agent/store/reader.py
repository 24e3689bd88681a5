"""Reads the store, with or without its lock."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pydantic import ValidationError

from drupelet_agent.errors import NotInstalledError, ReleaseTooOldError, StoreError, store_errors
from drupelet_agent.store.layout import StoreLayout
from drupelet_agent.store.measurements import KeptMeasurements, read_measurements
from drupelet_agent.store.records import Activation, ModelRecord


class StoreReader:
    """A view of the store; it changes nothing on disk."""

    def __init__(self, layout: StoreLayout) -> None:
        """Open a store for reading.

        Args:
            layout: The paths of the store.
        """
        self.layout = layout

    @property
    def root(self) -> Path:
        """The folder of the store."""
        return self.layout.root

    def free_bytes(self) -> int:
        """Return the space on the store's file system for an unprivileged writer.

        Raises:
            StoreError: The file system cannot be asked.
        """
        with store_errors(self.root):
            return shutil.disk_usage(self.root).free

    def is_read_only(self) -> bool:
        """Return whether the store's file system is mounted read-only, as Linux does with a card that fails.

        Raises:
            StoreError: The file system cannot be asked.
        """
        with store_errors(self.root):
            return bool(os.statvfs(self.root).f_flag & os.ST_RDONLY)

    def package_folder(self, digest: str) -> Path:
        """Return the folder of the package with a digest, whether it exists or not."""
        return self.layout.package(digest)

    def record(self, model: str) -> ModelRecord:
        """Return the record of a model; an empty one if the model was never installed.

        Raises:
            StoreError: The record is damaged or cannot be read.
        """
        path = self.layout.record(model)
        with store_errors(self.root):
            try:
                return ModelRecord.model_validate_json(path.read_bytes())
            except FileNotFoundError:
                return ModelRecord()
            except ValidationError as error:
                raise StoreError(f"store record {path}: damaged: {error}") from error

    def models(self) -> tuple[str, ...]:
        """Return the names of the models that have a record.

        Raises:
            StoreError: The folder cannot be read.
        """
        with store_errors(self.root):
            paths = list(self.layout.models.glob("*.json"))
        return tuple(sorted(path.stem for path in paths if not path.name.startswith(".")))

    def changed_s(self, model: str) -> float:
        """Return when a model's record was last written, by the device's clock; 0 if there is none."""
        try:
            return self.layout.record(model).stat().st_mtime
        except OSError:
            return 0.0

    def active(self) -> dict[str, Activation]:
        """Return the active release of each model: the target state of this device.

        Raises:
            StoreError: A record is damaged or cannot be read.
        """
        records = {model: self.record(model) for model in self.models()}
        return {model: record.active for model, record in records.items() if record.active is not None}

    def require_active(self, model: str) -> Activation:
        """Return the active release of a model.

        Raises:
            NotInstalledError: No release of the model is active.
            StoreError: A record is damaged or cannot be read.
        """
        active = self.record(model).active
        if active is None:
            installed = ", ".join(self.active()) or "none"
            raise NotInstalledError(f"model {model!r} is not installed; installed: {installed}")
        return active

    def fingerprint(self) -> frozenset[tuple[str, int, int]]:
        """Return a value that changes whenever a record does; cheap enough to be read twice a second.

        Raises:
            StoreError: The folder does not exist or cannot be read.
        """
        with store_errors(self.root):
            entries = os.scandir(self.layout.models)
            stats = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".json")]
        return frozenset((name, stat.st_ino, stat.st_mtime_ns) for name, stat in stats)

    def measurements(self, digest: str) -> KeptMeasurements:
        """Return the measurements of a package; none if they are damaged or absent, since they can be repeated."""
        return read_measurements(self.layout.measurements_of(digest))

    def check_release(self, model: str, *, release: int, digest: str) -> None:
        """Refuse a release that would return the device to an older state.

        Args:
            model: The model.
            release: The release of the package.
            digest: The digest of the package.

        Raises:
            ReleaseTooOldError: The release is lower than the highest that this device has activated, or equal with
                other content.
            StoreError: The record is damaged or cannot be read.
        """
        record = self.record(model)
        same = digest == record.highest_digest or any(known.digest == digest for known in record.releases)
        if release < record.highest_release or (release == record.highest_release and not same):
            raise ReleaseTooOldError(
                f"{model} release {release}: this device has activated release {record.highest_release}; "
                "a new package needs a higher one, and `drupelet-agent rollback` goes back on purpose"
            )
