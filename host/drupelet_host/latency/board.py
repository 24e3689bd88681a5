"""One board that measures: uploads a package, has it timed, and begins again when the link or the agent breaks."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.control.control import ControlClient
from drupelet_host.client.control.package_file import measure_file
from drupelet_host.client.control.upload import UploadTiming, upload
from drupelet_host.errors import (
    BrokerError,
    DeviceOfflineError,
    DeviceRestartedError,
    LatencyError,
    PackageRefusedError,
    RemoteError,
    ReplyTimeoutError,
)
from drupelet_host.latency.source import Percentile
from drupelet_shared.contract.commands import CommandProgress
from drupelet_shared.contract.measuring import MeasureReport, MeasureRequest
from drupelet_shared.contract.topics import DEFAULT_PREFIX

log = logging.getLogger(__name__)

# A restarted agent has lost the upload; another host's candidate may be measured, or an installation fill the queue.
_RETRIED_CODES = frozenset(
    {"unknown_upload", "upload_digest_mismatch", "device_busy", "store_busy", "too_many_uploads"}
)
# A smaller package may fit.
_REFUSED_CODES = frozenset({"package_too_large", "archive_too_large", "archive_no_space"})
_LINK_ERRORS = (BrokerError, DeviceOfflineError, DeviceRestartedError, ReplyTimeoutError)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0
# The device reports once a second while it measures or waits; it may take a minute to load a model.
_SILENCE_S = 90.0

OnEvent = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardLimits:
    """How long a board measures, and how long it is waited for.

    Attributes:
        max_seconds: Most seconds in inferences of each model.
        max_wait_s: Most seconds that the board waits for quiet.
        patience_s: Seconds without a sign of the board after which it counts as gone.
    """

    max_seconds: float = 10.0
    max_wait_s: float = 120.0
    patience_s: float = 300.0


class Board:
    """One device on a broker.

    Attributes:
        device: The device's name.
    """

    def __init__(
        self,
        device: str,
        *,
        broker: BrokerAddress,
        prefix: str = DEFAULT_PREFIX,
        limits: BoardLimits,
        on_event: OnEvent,
    ) -> None:
        """Name a board; nothing is connected.

        Args:
            device: The device's name.
            broker: The broker.
            prefix: The first levels of the topics.
            limits: How long it measures and is waited for.
            on_event: Receives what a person should know, such as an interruption.
        """
        self.device = device
        self._broker = broker
        self._prefix = prefix
        self._limits = limits
        self._on_event = on_event
        self._last_sign_s = time.monotonic()

    def measure(
        self, package: Path, *, precision: float, percentile: Percentile = "p50", layers: bool = False
    ) -> MeasureReport:
        """Upload a package and have it measured, again and again after interruptions until the patience is over.

        Args:
            package: The package file.
            precision: The half width of the interval to aim for, as a fraction.
            percentile: "p50" or "p99": the percentile whose interval it is.
            layers: Whether operators are timed too.

        Returns:
            What the device measured.

        Raises:
            PackageRefusedError: The package is too large for the device.
            LatencyError: The device refuses otherwise, was never quiet, or stayed away for `patience_s`.
        """
        file = measure_file(package)
        request = MeasureRequest.model_validate(
            {
                "source": f"upload:{file.digest}",
                "percentile": percentile,
                "precision": precision,
                "max_seconds": self._limits.max_seconds,
                "max_wait_s": self._limits.max_wait_s,
                "layers": layers,
            }
        )
        self._last_sign_s, pause_s = time.monotonic(), _FIRST_PAUSE_S
        while True:
            try:
                return self._attempt(package, request)
            except RemoteError as error:
                if error.device_code in _REFUSED_CODES:
                    raise PackageRefusedError(f"board {self.device} does not take the package: {error}") from error
                if not isinstance(error, _LINK_ERRORS) and error.device_code not in _RETRIED_CODES:
                    raise LatencyError(f"board {self.device} does not measure: {error}") from error
                if time.monotonic() + pause_s > self._last_sign_s + self._limits.patience_s:
                    raise LatencyError(
                        f"board {self.device} gave no sign for {self._limits.patience_s:g} s: {error}; check "
                        "that its agent and the broker run, then compile again: finished passes come from the cache"
                    ) from error
                self._on_event(f"{self.device}: measuring was interrupted and begins again: {error}")
            # Boards and hosts that lost one broker must not all come back at the same moment.
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _attempt(self, package: Path, request: MeasureRequest) -> MeasureReport:
        file = measure_file(package)
        with ControlClient(broker=self._broker, prefix=self._prefix) as control:
            topic = control.topics(self.device).upload(file.digest)
            timing = UploadTiming(stall_s=min(60.0, self._limits.patience_s))
            upload(control, self.device, file, topic=topic, on_bytes=lambda _done, _total: None, timing=timing)
            return control.command(
                self.device,
                "measure",
                request,
                MeasureReport,
                on_progress=self._progressed,
                silence_s=_SILENCE_S,
            )

    def _progressed(self, progress: CommandProgress) -> None:
        self._last_sign_s = time.monotonic()
        log.info("board=%s %s: %s", self.device, progress.stage, progress.detail)
