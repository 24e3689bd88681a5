"""A file in chunks to a device, whatever becomes of the link meanwhile."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from drupelet_host.client.control.control import ControlClient, Send
from drupelet_host.client.control.orders import Order
from drupelet_host.errors import DeviceOfflineError, DeviceRestartedError, RemoteError, ReplyTimeoutError
from drupelet_shared.contract.delivery import LENGTH_PROPERTY, OFFSET_PROPERTY, UploadState
from drupelet_shared.errors import BusyError

log = logging.getLogger(__name__)

# Small enough to pass between two breaks of a bad link, large enough for a good one.
CHUNK_BYTES = 64 * 2**10
# Sent and not yet answered: what a link of 10 MB/s and 100 ms holds.
_WINDOW_BYTES = 16 * CHUNK_BYTES
# Longer than a broker and a device need to come back to each other and deliver what waited.
_PATIENCE_S = 10.0
_PAUSE_S = 0.5
DEFAULT_SILENCE_S = 120.0

OnBytes = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file to send: where it is, its SHA-256 and its size."""

    path: Path
    digest: str
    size: int


def measure_file(path: Path) -> PackageFile:
    """The file with its digest."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return PackageFile(path, digest, file.seek(0, 2))


def upload(
    control: ControlClient,
    device: str,
    file: PackageFile,
    *,
    topic: str,
    on_bytes: OnBytes,
    silence_s: float = DEFAULT_SILENCE_S,
) -> None:
    """Send a file, from where an earlier try has left off, until the device has all of it.

    Args:
        control: A connected client.
        device: Where to.
        file: What.
        topic: The device's topic for this file.
        on_bytes: Told how many bytes the device has, and of how many.
        silence_s: How long to try without a word of the device.

    Raises:
        RemoteError: The device refuses the file.
        ReplyTimeoutError: It was silent for too long.
    """
    heard_s = time.monotonic()

    def progressed(done: int) -> None:
        nonlocal heard_s
        heard_s = time.monotonic()
        on_bytes(done, file.size)

    with file.path.open("rb") as data:
        while True:
            try:
                with control.order(device, "upload") as (order, send):
                    _Sending(file=file, data=data, topic=topic, order=order, send=send, progressed=progressed).run()
            except _OutOfStepError as error:
                log.debug("upload to %s goes back: %s", device, error)
            except (ReplyTimeoutError, DeviceOfflineError, DeviceRestartedError) as error:
                if time.monotonic() - heard_s > silence_s:
                    raise
                log.debug("upload to %s starts over from where the device is: %s", device, error)
            except RemoteError as error:
                if error.device_code != BusyError.code:
                    raise
                time.sleep(_PAUSE_S)
            else:
                return


class _OutOfStepError(Exception):
    """A chunk was lost, so that those after it are of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sending:
    """One run over the file with its own Correlation Data, so that answers to an earlier one are not mistaken."""

    file: PackageFile
    data: BinaryIO
    topic: str
    order: Order
    send: Send
    progressed: Callable[[int], None]

    def run(self) -> None:
        """Ask how far the device is, and send from there."""
        self.send(self.topic, b"", self._properties())
        received = self._next().received_bytes
        sent = received
        self.data.seek(sent)
        while received < self.file.size:
            while sent < self.file.size and sent - received < _WINDOW_BYTES:
                chunk = self.data.read(CHUNK_BYTES)
                self.send(self.topic, chunk, (*self._properties(), (OFFSET_PROPERTY, str(sent))))
                sent += len(chunk)
            state = self._next()
            if state.has_gap:
                raise _OutOfStepError(
                    f"the device has {state.received_bytes} bytes and got those at {state.chunk_offset}"
                )
            received = max(received, state.received_bytes)

    def _next(self) -> UploadState:
        answer = self.order.next(timeout_s=_PATIENCE_S)
        try:
            state = UploadState.model_validate_json(answer.payload)
        except ValidationError as error:
            raise RemoteError(f"device {self.order.device!r}, upload: malformed answer: {error}") from error
        self.progressed(state.received_bytes)
        return state

    def _properties(self) -> tuple[tuple[str, str], ...]:
        return ((LENGTH_PROPERTY, str(self.file.size)),)
