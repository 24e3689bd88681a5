"""A package onto a device: sent, installed there, and asked for again where something broke."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drupelet_host.client.control.control import ControlClient
from drupelet_host.client.control.upload import measure_file, upload
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

# An agent that was started again may have installed the upload, thrown it away, or neither.
_AGAIN = {"unknown_upload", "upload_digest_mismatch"}
_TRIES = 3


class PushObserver(Protocol):
    """Is told what happens while a package is pushed."""

    def sent(self, done: int, total: int) -> None:
        """The device has so many of so many bytes."""

    def progressed(self, progress: CommandProgress) -> None:
        """The device has come to a stage."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """A release that a device runs, or keeps staged; `was_there` if it had been before."""

    release: InstalledRelease
    was_there: bool


def push(
    control: ControlClient,
    device: str,
    archive: Path,
    package: UnpackedPackage,
    *,
    activate: bool,
    observer: PushObserver,
) -> Pushed:
    """Bring a package onto a device and wait until it is active, or staged.

    Args:
        control: A connected client.
        device: Where to.
        archive: The `.drupe` file.
        package: What is in it.
        activate: Whether it is to run at once.
        observer: Told of what happens.

    Raises:
        RemoteError: The device refused; `device_code` says why.
        ReplyTimeoutError: It was silent for too long.
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
    for number in range(_TRIES):
        found = _find(control, device, package, activate=activate)
        if found is not None:
            return Pushed(found, was_there=number == 0)
        upload(control, device, file, topic=control.topics(device).upload(file.digest), on_bytes=observer.sent)
        try:
            release = control.command(device, "install", request, InstalledRelease, on_progress=observer.progressed)
        except DeviceRestartedError as error:
            failure: RemoteError = error
        except RemoteError as error:
            if error.device_code not in _AGAIN:
                raise
            failure = error
        else:
            return Pushed(release, was_there=False)
        log.warning("%s; once more", failure)
    raise failure


def _find(control: ControlClient, device: str, package: UnpackedPackage, *, activate: bool) -> InstalledRelease | None:
    """The package as the device has it already, where it is wanted."""
    installed = control.command(device, "list", ListRequest(), InstalledModels)
    for model in installed.models:
        release = model.active if activate else model.staged or model.active
        if release is not None and release.digest == package.digest:
            return release
    return None
