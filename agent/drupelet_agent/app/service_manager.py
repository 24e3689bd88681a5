"""What the agent tells the service manager of itself: ready, alive, stopping, and why it is not ready yet.

Source: sd_notify(3), sd_watchdog_enabled(3). Without a service manager every call does nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

_ABSTRACT = "@"
# While it starts: how often more time is asked for, and how much. A loop that hangs is then noticed within this long.
_LOOK_S = 1.0
_START_EXTENSION_S = 30.0
_LONGEST_STATUS = 200


@dataclass(frozen=True, slots=True)
class Life:
    """The agent at one moment.

    Attributes:
        ready: Whether it is connected and each model serves or was found failing.
        fault: Why requests cannot be served although nothing is being waited for; None while all is well.
        status: One line for `systemctl status`.
    """

    ready: bool
    fault: str | None
    status: str


class ServiceManager:
    """The manager's socket; a manager that is gone or full is not waited for."""

    def __init__(
        self, address: str | None, *, watchdog_usec: str | None = None, watchdog_pid: str | None = None
    ) -> None:
        """Take what the environment says.

        Args:
            address: `NOTIFY_SOCKET`: a path, or `@` and the name of an abstract socket.
            watchdog_usec: `WATCHDOG_USEC`.
            watchdog_pid: `WATCHDOG_PID`: whom the watchdog is for.
        """
        is_ours = watchdog_pid in {None, "", str(os.getpid())}
        self._address = _socket_address(address)
        period = watchdog_usec or ""
        self.watchdog_s = int(period) / 1e6 if is_ours and period.isdigit() else None

    def __bool__(self) -> bool:
        """Whether there is a manager to tell."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """Starting is done."""
        self._tell("READY=1", _status(status))

    def status(self, text: str) -> None:
        """What the agent is doing."""
        self._tell(_status(text))

    def feed(self) -> None:
        """The watchdog need not end the agent for another `watchdog_s`."""
        self._tell("WATCHDOG=1")

    def still_starting(self, status: str) -> None:
        """Ask for another while before the start counts as failed."""
        self._tell(f"EXTEND_TIMEOUT_USEC={_START_EXTENSION_S * 1e6:.0f}", _status(status))

    def stopping(self) -> None:
        """The agent ends in good order."""
        self._tell("STOPPING=1", _status("answering what was accepted"))

    def _tell(self, *assignments: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(0)
                channel.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            log.warning("service manager does not hear: %s", error.strerror)


async def report_life(manager: ServiceManager, look: Callable[[], Life]) -> None:
    """Keep the manager informed until cancelled: readiness once, then the watchdog while there is no fault.

    Args:
        manager: Whom to tell.
        look: The agent now; called on the event loop, so a loop that hangs feeds nothing.
    """
    ready, told = False, ""
    interval_s = min(_LOOK_S, (manager.watchdog_s or _LOOK_S) / 3)
    while True:
        life = look()
        status = life.fault or life.status
        if not ready and life.ready and life.fault is None:
            ready = True
            manager.ready(status)
        elif not ready and life.fault is None:
            manager.still_starting(status)
        elif status != told:
            manager.status(status)
        if ready and life.fault is None and manager.watchdog_s is not None:
            manager.feed()
        if life.fault is not None and status != told:
            log.error("the watchdog is not fed: %s", life.fault)
        told = status
        await asyncio.sleep(interval_s)


def _status(text: str) -> str:
    # A line's end would start another assignment.
    return "STATUS=" + " ".join(text.split())[:_LONGEST_STATUS]


def _socket_address(address: str | None) -> str | None:
    if not address:
        return None
    return "\0" + address[1:] if address.startswith(_ABSTRACT) else address
