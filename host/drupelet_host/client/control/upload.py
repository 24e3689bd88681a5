"""Upload of a file to a device in chunks, resumed after each interruption of the link."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from drupelet_host.client.control.chunks import ChunkSize
from drupelet_host.client.control.control import ControlClient
from drupelet_host.client.control.package_file import PackageFile
from drupelet_host.client.control.upload_run import (
    ChunkRefusedError,
    ChunkUnansweredError,
    GapError,
    UploadRun,
)
from drupelet_host.errors import (
    DeviceOfflineError,
    DeviceRestartedError,
    RemoteError,
    ReplyTimeoutError,
)
from drupelet_shared.errors import BusyError

log = logging.getLogger(__name__)

# A device discards an upload that is damaged or evicted by others; more often than this without a new record of bytes,
# the upload would never end.
_MAX_DISCARDS = 3

OnBytes = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTiming:
    """How long an upload waits.

    Attributes:
        answer_s: For the next answer, before the upload starts again from where the device is. Longer than a broker
            and a device take to reconnect and to deliver what has queued up.
        stall_s: For the next byte that the device gains, before the upload fails.
        pause_s: After the device has answered that it is busy.
    """

    answer_s: float = 10.0
    stall_s: float = 120.0
    pause_s: float = 0.5


DEFAULT_TIMING = UploadTiming()


def upload(
    control: ControlClient,
    device: str,
    file: PackageFile,
    *,
    topic: str,
    on_bytes: OnBytes,
    timing: UploadTiming = DEFAULT_TIMING,
) -> None:
    """Upload a file, from where an earlier upload ended, until the device has all of it.

    Chunks fit into the packets that the broker accepts. They are halved when the broker refuses one for its size or
    the device answers none although it answers shorter messages.

    Args:
        control: A connected client.
        device: The device's name.
        file: The file.
        topic: The device's topic for this file.
        on_bytes: Receives the number of bytes that the device has, and the size of the file.
        timing: How long to wait.

    Raises:
        RemoteError: The device refuses the file; `device_code` holds its error code.
        ReplyTimeoutError: The device has gained no byte for `timing.stall_s`, or answers no chunk of any size. The
            message says what to change.
        DeviceOfflineError: The device went offline and did not come back within `timing.stall_s`.
    """
    with file.path.open("rb") as data:
        _Upload(control, device, file, data=data, topic=topic, on_bytes=on_bytes, timing=timing).run()


class _Upload:
    """One upload: runs over the file until one reaches its end, or no byte has been gained for too long."""

    def __init__(
        self,
        control: ControlClient,
        device: str,
        file: PackageFile,
        *,
        data: BinaryIO,
        topic: str,
        on_bytes: OnBytes,
        timing: UploadTiming,
    ) -> None:
        self._control = control
        self._device = device
        self._file = file
        self._data = data
        self._topic = topic
        self._on_bytes = on_bytes
        self._timing = timing
        self._chunk = ChunkSize.for_broker(control.max_payload_bytes)
        self._received_bytes = -1
        self._record_bytes = -1
        self._has_passed = False
        self._discarded_at: list[int] = []
        self._gained_at_s = time.monotonic()

    def run(self) -> None:
        while True:
            self._check_discards()
            try:
                self._run_once()
            except GapError as error:
                self._check_stall(ReplyTimeoutError(f"device {self._device!r}, upload: {error}"))
                log.debug("upload goes back device=%s error=%s", self._device, error)
            except ChunkRefusedError as error:
                self._shrink(error)
            except ChunkUnansweredError as error:
                # A size that has passed once was not lost for its size.
                if self._has_passed:
                    self._check_stall(ReplyTimeoutError(f"device {self._device!r}, upload: {error}"))
                else:
                    self._shrink(error)
            except (ReplyTimeoutError, DeviceOfflineError, DeviceRestartedError) as error:
                self._check_stall(error)
                log.debug("upload starts again device=%s error=%s", self._device, error)
            except RemoteError as error:
                if error.device_code != BusyError.code:
                    raise
                self._check_stall(error)
                time.sleep(self._timing.pause_s)
            else:
                return

    def _run_once(self) -> None:
        with self._control.call(self._device, "upload") as (call, send):
            UploadRun(
                size_bytes=self._file.size_bytes,
                data=self._data,
                topic=self._topic,
                call=call,
                send=send,
                chunk_bytes=self._chunk.size_bytes,
                answer_s=self._timing.answer_s,
                on_start=self._start,
                on_received=self._receive,
            ).run()

    def _start(self, received_bytes: int) -> None:
        """Take the answer to the question how far the device is; less than before means that it discarded bytes."""
        if received_bytes < self._received_bytes:
            self._discarded_at.append(self._received_bytes)
            self._received_bytes = received_bytes
        self._receive(received_bytes)

    def _receive(self, received_bytes: int) -> None:
        """Take an answer; a lost connection may deliver answers late and out of their order."""
        if received_bytes > self._received_bytes:
            self._gained_at_s = time.monotonic()
            # The first answer only tells what was there before.
            self._has_passed = self._has_passed or self._received_bytes >= 0
            self._received_bytes = received_bytes
        if received_bytes > self._record_bytes:
            self._record_bytes = received_bytes
            self._discarded_at.clear()
        self._on_bytes(received_bytes, self._file.size_bytes)

    def _check_discards(self) -> None:
        if len(self._discarded_at) > _MAX_DISCARDS:
            raise ReplyTimeoutError(
                f"device {self._device!r}, upload: the device has discarded the file {len(self._discarded_at)} times, "
                f"last at {self._discarded_at[-1]} of {self._file.size_bytes} bytes; see its log, and whether others "
                "push to it"
            )

    def _shrink(self, error: ChunkRefusedError | ChunkUnansweredError) -> None:
        smaller = self._chunk.halved()
        if smaller is None:
            raise ReplyTimeoutError(
                f"device {self._device!r}, upload: no chunk arrives, not even one of {self._chunk.size_bytes} bytes, "
                f"although the device answers shorter messages ({error}). Raise the broker's limits "
                "(mosquitto: message_size_limit, max_packet_size), or the device's limits.max_payload"
            ) from error
        log.info(
            "upload continues with smaller chunks device=%s chunk_bytes=%d reason=%s",
            self._device,
            smaller.size_bytes,
            error,
        )
        self._chunk = smaller

    def _check_stall(self, error: RemoteError) -> None:
        waited_s = time.monotonic() - self._gained_at_s
        if waited_s <= self._timing.stall_s:
            return
        if isinstance(error, DeviceOfflineError):
            raise error
        raise ReplyTimeoutError(
            f"device {self._device!r}, upload: no byte gained for {waited_s:.0f} s at {max(0, self._received_bytes)} "
            f"of {self._file.size_bytes} bytes; last: {error}. Run the push again to go on from there; if it stalls "
            "again, see the logs of the agent and the broker"
        ) from error
