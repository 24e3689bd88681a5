"""Push of a package: upload it, install it, and repeat what a restart of the agent interrupted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drupelet_host.client.control.control import ControlClient
from drupelet_host.client.control.package_file import measure_file
from drupelet_host.client.control.upload import upload
from drupelet_host.errors import DeviceRestartedError, RemoteError
from drupelet_shared.contract.commands import (
    CommandProgress,
    InstalledModels,
    InstalledRelease,
    InstallRequest,
    ListRequest,
)
from drupelet_shared.package.reading import UnpackedPackage

log = logging.getLogger(__name__)

# An agent that was restarted may have installed the upload, discarded it, or neither.
_RETRIED_CODES = {"unknown_upload", "upload_digest_mismatch"}
_ATTEMPTS = 3


class PushObserver(Protocol):
    """Receives the progress of a push."""

    def sent(self, done: int, total: int) -> None:
        """Take the number of bytes that the device has received, and of how many."""

    def progressed(self, progress: CommandProgress) -> None:
        """Take a stage of the installation."""


@dataclass(frozen=True, slots=True)
class PushResult:
    """The outcome of a push.

    Attributes:
        release: The release that the device runs, or keeps staged.
        was_installed: Whether the device had the package before the push.
    """

    release: InstalledRelease
    was_installed: bool


def push(
    control: ControlClient,
    device: str,
    archive: Path,
    package: UnpackedPackage,
    *,
    activate: bool,
    observer: PushObserver,
) -> PushResult:
    """Bring a package onto a device and wait until it is active, or staged.

    Args:
        control: A connected client.
        device: The device's name.
        archive: The `.drupe` file.
        package: The same package, opened.
        activate: Whether the device activates it; it is staged otherwise.
        observer: Receives the progress.

    Returns:
        The release, and whether the device had it before.

    Raises:
        RemoteError: The device refused the package or failed; `device_code` holds its error code.
        ReplyTimeoutError: The device sent nothing, or received nothing, for too long.
    """
    file = measure_file(archive)
    manifest = package.manifest
    request = InstallRequest(
        source=f"upload:{file.digest}",
        model=manifest.name,
        version=manifest.version,
        digest=package.digest,
        activate=activate,
    )
    for attempt in range(_ATTEMPTS):
        installed = _find_installed(control, device, package, activate=activate)
        if installed is not None:
            return PushResult(installed, was_installed=attempt == 0)
        upload(control, device, file, topic=control.topics(device).upload(file.digest), on_bytes=observer.sent)
        try:
            release = control.command(device, "install", request, InstalledRelease, on_progress=observer.progressed)
        except DeviceRestartedError as error:
            failure: RemoteError = error
        except RemoteError as error:
            if error.device_code not in _RETRIED_CODES:
                raise
            failure = error
        else:
            return PushResult(release, was_installed=False)
        log.warning("push failed, trying again attempt=%d error=%s", attempt + 1, failure)
    raise failure


def _find_installed(
    control: ControlClient, device: str, package: UnpackedPackage, *, activate: bool
) -> InstalledRelease | None:
    """Return the release of this very package that the device runs or, unless it is to be activated, keeps staged."""
    installed = control.command(device, "list", ListRequest(), InstalledModels)
    for model in installed.models:
        release = model.active if activate else model.staged or model.active
        if release is not None and release.digest == package.digest:
            return release
    return None
