"""What the service manager receives on its socket."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from drupelet_agent.app.service_manager import ServiceManager, ServiceState, report_state

STARTING = ServiceState(ready=False, fault=None, status="loading digits")
SERVING = ServiceState(ready=True, fault=None, status="2 models")
STUCK = ServiceState(ready=True, fault="worker 7 answers nothing", status="2 models")


class Manager:
    """A real datagram socket, as systemd's."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(0)

    def received(self) -> list[str]:
        """Everything that came since the last call, a message each."""
        messages = []
        with suppress(BlockingIOError):
            while True:
                messages.append(self._socket.recv(4096).decode())
        return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@drupelet-{uuid.uuid4().hex}"
    with closing(Manager(address)) as made:
        yield made


def test_each_message_is_one_datagram_of_assignments(manager: Manager) -> None:
    service_manager = ServiceManager(manager.address)
    service_manager.ready("2 models")
    service_manager.feed_watchdog()
    service_manager.status("1 model")
    service_manager.stopping()
    assert manager.received() == [
        "READY=1\nSTATUS=2 models",
        "WATCHDOG=1",
        "STATUS=1 model",
        "STOPPING=1\nSTATUS=answering accepted requests",
    ]


def test_a_status_cannot_hold_another_assignment(manager: Manager) -> None:
    ServiceManager(manager.address).status("no broker\nREADY=1\n" + "x" * 1000)
    (message,) = manager.received()
    assert message.startswith("STATUS=no broker READY=1 xxx")
    assert len(message) == len("STATUS=") + 200


def test_without_a_manager_nothing_happens() -> None:
    assert not ServiceManager(None)
    ServiceManager(None).ready("2 models")
    ServiceManager("").feed_watchdog()


def test_a_manager_that_is_gone_costs_a_log_line_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ServiceManager(str(tmp_path / "nobody")).ready("2 models")
    assert "the service manager cannot be reached" in caplog.text


def test_a_manager_that_does_not_read_is_not_waited_for(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    service_manager = ServiceManager(manager.address)
    for _ in range(2000):
        service_manager.feed_watchdog()
    assert "the service manager cannot be reached" in caplog.text


@pytest.mark.parametrize(
    ("usec", "pid", "expected_s"),
    [
        pytest.param("30000000", str(os.getpid()), 30.0, id="its own process id"),
        ("30000000", None, 30.0),
        ("30000000", "1", None),
        (None, None, None),
        ("soon", None, None),
    ],
)
def test_the_watchdog_is_this_processs_own(usec: str | None, pid: str | None, expected_s: float | None) -> None:
    assert ServiceManager("@x", watchdog_usec=usec, watchdog_pid=pid).watchdog_s == expected_s


async def report(manager: Manager, states: list[ServiceState], *, longest_start_s: float = 300.0) -> list[list[str]]:
    """Return the reports after each of these states, at a watchdog of 30 ms."""
    reports: list[list[str]] = []
    remaining = iter(states)

    def read_state() -> ServiceState:
        if reports or was_read:
            reports.append(manager.received())
        was_read.append(True)
        try:
            return next(remaining)
        except StopIteration:
            raise asyncio.CancelledError from None

    was_read: list[bool] = []
    with suppress(asyncio.CancelledError):
        await report_state(
            ServiceManager(manager.address, watchdog_usec="30000"), read_state, longest_start_s=longest_start_s
        )
    return reports


def test_readiness_is_told_once_and_after_the_wait_for_it(manager: Manager) -> None:
    reports = asyncio.run(report(manager, [STARTING, STARTING, SERVING, SERVING]))
    more_time = "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=loading digits"
    assert reports == [[more_time], [more_time], ["READY=1\nSTATUS=2 models", "WATCHDOG=1"], ["WATCHDOG=1"]]


def test_a_fault_starves_the_watchdog_and_says_why(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    reports = asyncio.run(report(manager, [SERVING, STUCK, STUCK, SERVING]))
    assert reports[1:] == [["STATUS=worker 7 answers nothing"], [], ["STATUS=2 models", "WATCHDOG=1"]]
    assert caplog.text.count("the watchdog is not fed: worker 7 answers nothing") == 1


def test_a_fault_while_starting_asks_for_no_more_time(manager: Manager) -> None:
    faulty = ServiceState(ready=False, fault="the connection's task ended", status="")
    reports = asyncio.run(report(manager, [STARTING, faulty, faulty]))
    assert reports[1:] == [["STATUS=the connection's task ended"], []]


def test_a_start_that_takes_too_long_counts_as_ready(manager: Manager) -> None:
    reports = asyncio.run(report(manager, [STARTING, STARTING], longest_start_s=0.0))
    assert reports[0] == ["READY=1\nSTATUS=loading digits", "WATCHDOG=1"]


def test_an_agent_that_lost_its_broker_stays_ready_and_areport(manager: Manager) -> None:
    reports = asyncio.run(report(manager, [SERVING, STARTING]))
    assert reports[1] == ["STATUS=loading digits", "WATCHDOG=1"]
