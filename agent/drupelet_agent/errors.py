"""The agent's own errors; those of packages, engines and requests are in `drupelet_shared.errors`.

DrupeletError
|-- ConfigError               config_invalid
|-- StoreError                store_error
|   |-- StoreBusyError        store_busy
|   |-- StoreFullError        store_full
|   |-- StoreReadOnlyError    store_read_only
|   |-- NotInstalledError     not_installed
|   |-- NoPreviousError       no_previous_release
|   |-- ReleaseTooOldError    release_too_old
|   `-- ReleaseChangedError   release_changed
|-- WrongPackageError         wrong_package
|   `-- WrongTargetError      wrong_target
|-- SourceError               source_error (of drupelet_shared.errors)
|   |-- PackageTooLargeError   package_too_large
|   |-- TooManyUploadsError   too_many_uploads
|   |-- UnknownUploadError    unknown_upload
|   `-- UploadDigestError     upload_digest_mismatch
|-- PlanError                 no_usable_variant
|   |-- MemoryBudgetError     memory_budget_exceeded
|   `-- ContractError         contract_broken
`-- WorkerError               worker_failed
    `-- WorkerTimeoutError    worker_timeout
        `-- TimeLimitError    worker_timeout
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from drupelet_shared.errors import DrupeletError, SourceError
from drupelet_shared.units import format_bytes

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ConfigReason(Enum):
    """What a configuration error is about.

    Attributes:
        DOCUMENT: The configuration file itself.
        SECRET: A file with a password.
        CREDENTIAL: A systemd credential, which this process was not given.
        TLS_FILES: A certificate or its key.
    """

    DOCUMENT = "document"
    SECRET = "secret"  # noqa: S105 - no password
    CREDENTIAL = "credential"
    TLS_FILES = "tls_files"


class ConfigError(DrupeletError):
    """A configuration with faults; the message lists all of them.

    Attributes:
        reason: What the faults are about.
    """

    code = "config_invalid"

    def __init__(self, message: str, *, reason: ConfigReason = ConfigReason.DOCUMENT) -> None:
        """Describe the faults.

        Args:
            message: The faults, for people.
            reason: What they are about.
        """
        super().__init__(message)
        self.reason = reason


class StoreError(DrupeletError):
    """An operation on the store on disk failed."""

    code = "store_error"


class StoreBusyError(StoreError):
    """Another process is changing the store."""

    code = "store_busy"


class StoreFullError(StoreError):
    """The file system of the store is full."""

    code = "store_full"


class StoreReadOnlyError(StoreError):
    """The store's file system is read-only, as Linux mounts a card that fails."""

    code = "store_read_only"


class NotInstalledError(StoreError):
    """No package of that model is installed."""

    code = "not_installed"


class NoPreviousError(StoreError):
    """There is no earlier release to go back to."""

    code = "no_previous_release"


class ReleaseTooOldError(StoreError):
    """A release that is not newer than one this device has already activated."""

    code = "release_too_old"


class ReleaseChangedError(StoreError):
    """Another release is active than the one that the command names."""

    code = "release_changed"


class WrongPackageError(DrupeletError):
    """A package is not the one that was requested."""

    code = "wrong_package"


class WrongTargetError(WrongPackageError):
    """A package that was compiled for another device."""

    code = "wrong_target"


class PackageTooLargeError(SourceError):
    """A package file larger than this device accepts."""

    code = "package_too_large"


class TooManyUploadsError(SourceError):
    """An upload beyond the number that this device accepts at once."""

    code = "too_many_uploads"


class UnknownUploadError(SourceError):
    """An upload that has not been received completely."""

    code = "unknown_upload"


class UploadDigestError(SourceError):
    """An upload whose bytes do not have its digest; it has been deleted."""

    code = "upload_digest_mismatch"


class PlanError(DrupeletError):
    """No variant of the package can run on this device."""

    code = "no_usable_variant"


class MemoryBudgetError(PlanError):
    """No variant fits in the memory budget."""

    code = "memory_budget_exceeded"


class ContractError(PlanError):
    """A model is slower here than its contract allows."""

    code = "contract_broken"


class WorkerError(DrupeletError):
    """A worker process died, spoke out of turn, or reported an error.

    Attributes:
        reported_code: The code of the error that the worker itself reported.
    """

    code = "worker_failed"
    reported_code: str | None = None


class WorkerTimeoutError(WorkerError):
    """A worker process did not answer in time."""

    code = "worker_timeout"


class TimeLimitError(WorkerTimeoutError):
    """A package has used up the time for loading, checking and measuring its candidates."""


@contextmanager
def store_errors(folder: Path) -> Iterator[None]:
    """Raise the operating system's errors about the store's files as store errors.

    Args:
        folder: A folder of the store, for the message.

    Raises:
        StoreFullError: The file system has no space left, or the quota is used up.
        StoreReadOnlyError: The file system is read-only.
        StoreError: The operating system reports another error; the message names the file.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFullError(f"store {folder}: {error.strerror}{_describe_room(folder)}") from error
        if error.errno == errno.EROFS:
            raise StoreReadOnlyError(f"store {folder}: the file system is read-only") from error
        raise StoreError(f"store {folder}: {error.strerror}: {error.filename}") from error


def _describe_room(folder: Path) -> str:
    """Return what is free on the file system of a folder, whose own creation may have failed for lack of room."""
    existing = next((one for one in (folder, *folder.parents) if one.is_dir()), folder)
    try:
        return f": {format_bytes(shutil.disk_usage(existing).free)} are free"
    except OSError:
        return ""
