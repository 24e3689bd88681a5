"""The service manager's view of the agent: ready, alive, stopping, and its status in one line.

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
_INTERVAL_S = 1.0
# While models load: how much more time is asked for at once, and for how long altogether. An event loop that hangs is
# noticed within the first, and a model that never loads delays what is ordered behind the agent by the second.
_START_EXTENSION_S = 30.0
_LONGEST_START_S = 300.0
_LONGEST_STATUS = 200


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The agent at one moment.

    Attributes:
        ready: Whether it tries its broker, and each model serves or was found failing.
        fault: Why requests cannot be served although nothing is awaited; None while all is well.
        status: One line for `systemctl status`.
    """

    ready: bool
    fault: str | None
    status: str


class ServiceManager:
    """The socket of the service manager; one that is gone or full is not waited for.

    Attributes:
        watchdog_s: The watchdog's period in seconds; None where there is no watchdog for this process.
    """

    def __init__(
        self, address: str | None, *, watchdog_usec: str | None = None, watchdog_pid: str | None = None
    ) -> None:
        """Read the variables of the environment.

        Args:
            address: `NOTIFY_SOCKET`: a path, or `@` and the name of an abstract socket.
            watchdog_usec: `WATCHDOG_USEC`: the period in microseconds.
            watchdog_pid: `WATCHDOG_PID`: the process that the watchdog supervises.
        """
        is_ours = watchdog_pid in {None, "", str(os.getpid())}
        self._address = _socket_address(address)
        period = watchdog_usec or ""
        self.watchdog_s = int(period) / 1e6 if is_ours and period.isdigit() else None

    def __bool__(self) -> bool:
        """Return whether there is a service manager."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """Report that the start is complete."""
        self._send("READY=1", _status(status))

    def status(self, text: str) -> None:
        """Report what the agent does."""
        self._send(_status(text))

    def feed_watchdog(self) -> None:
        """Report that the agent serves, so that it is not ended for another `watchdog_s`."""
        self._send("WATCHDOG=1")

    def extend_start(self, status: str) -> None:
        """Ask for more time before the start counts as failed."""
        self._send(f"EXTEND_TIMEOUT_USEC={_START_EXTENSION_S * 1e6:.0f}", _status(status))

    def stopping(self) -> None:
        """Report that the agent stops in good order."""
        self._send("STOPPING=1", _status("answering accepted requests"))

    def _send(self, *assignments: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(0)
                channel.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            log.warning("the service manager cannot be reached: %s", error.strerror)


async def report_state(
    manager: ServiceManager, read_state: Callable[[], ServiceState], *, longest_start_s: float = _LONGEST_START_S
) -> None:
    """Report readiness once, then feed the watchdog while there is no fault, until cancelled.

    Args:
        manager: Receives the reports.
        read_state: Returns the agent's state; called on the event loop, so a loop that hangs feeds no watchdog.
        longest_start_s: After how long the agent counts as ready although a model still loads.
    """
    loop = asyncio.get_running_loop()
    is_ready, reported = False, ""
    start_ends_s = loop.time() + longest_start_s
    interval_s = min(_INTERVAL_S, (manager.watchdog_s or _INTERVAL_S) / 3)
    while True:
        state = read_state()
        status = state.fault or state.status
        if not is_ready and state.fault is None and (state.ready or loop.time() >= start_ends_s):
            is_ready = True
            manager.ready(status)
        elif not is_ready and state.fault is None:
            manager.extend_start(status)
        elif status != reported:
            manager.status(status)
        if is_ready and state.fault is None and manager.watchdog_s is not None:
            manager.feed_watchdog()
        if state.fault is not None and status != reported:
            log.error("the watchdog is not fed: %s", state.fault)
        reported = status
        await asyncio.sleep(interval_s)


def _status(text: str) -> str:
    # The end of a line would start another assignment.
    return "STATUS=" + " ".join(text.split())[:_LONGEST_STATUS]


def _socket_address(address: str | None) -> str | None:
    if not address:
        return None
    return "\0" + address[1:] if address.startswith(_ABSTRACT) else address
