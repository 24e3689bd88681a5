"""What a device must survive while it serves: a worker that dies, and an agent that hangs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from drupelet_host.errors import RemoteError, ReplyTimeoutError
from emulated.machine.delivery import push
from emulated.machine.lab import UNIT, Lab, expect
from support.package.served_packages import NCNN_VARIANT

# Twice the unit's WatchdogSec=, and the start after it.
_WATCHDOG_S = 400.0


def a_pushed_model_answers(lab: Lab) -> str:
    """A signed package from the host is verified, measured and activated, and answers the host's request."""
    package, release = lab.make_package()
    stages = push(lab, package)
    state = lab.wait_for_release(release)
    reply = lab.ask()
    expect(reply.model_version == f"{release}.0.0", f"version {reply.model_version} answered")
    assert state.plan is not None
    told = ", ".join(dict.fromkeys(stages))
    return f"{told}; `{state.variant}` on {state.plan.threads} threads; the scores are the host's"


def a_model_for_ncnn_alone_answers(lab: Lab) -> str:
    """The next release has an ncnn variant alone, which the device installs and serves in the worker's sandbox."""
    package, release = lab.make_package(variant=NCNN_VARIANT)
    push(lab, package)
    state = lab.wait_for_release(release)
    reply = lab.ask()
    expect(reply.model_version == f"{release}.0.0", f"version {reply.model_version} answered")
    assert state.plan is not None
    expect(state.plan.engine == "ncnn", f"the engine is {state.plan.engine}")
    status = lab.shell.run(f"cat /proc/{lab.worker()}/status")
    expect("Seccomp:\t2" in status, "no system call filter is in force in the worker")
    return f"`{state.variant}` on {state.plan.threads} threads, in the worker's sandbox; the scores are the host's"


def a_killed_worker_comes_back(lab: Lab) -> str:
    """SIGKILL of the worker under load loses at most the request being processed, and the agent keeps running."""
    lab.boot()
    before = lab.wait_until_serving(*lab.records())
    with _steady_requests(lab) as outcomes:
        _wait_for(outcomes, "ok", 5)
        worker = lab.worker()
        lab.shell.run("kill", "-KILL", str(worker))
        _wait_for(outcomes, "ok", outcomes["ok"] + 5)
    after = lab.wait_until_serving(*lab.records())
    expect(after.pid == before.pid, "the agent was started again")
    expect(lab.worker() != worker, "the worker is the same: it was not killed")
    failed = {outcome: count for outcome, count in outcomes.items() if outcome != "ok"}
    expect(sum(failed.values()) <= 1, f"more than the request being processed was lost: {failed}")
    lost = ", ".join(f"{count} {outcome}" for outcome, count in failed.items()) or "none lost"
    return f"{outcomes['ok']} answers, {lost}; a new worker, the same agent"


def a_hanging_agent_is_started_again(lab: Lab) -> str:
    """SIGSTOP of the agent starves the watchdog, and systemd replaces it."""
    lab.boot()
    before = lab.wait_until_serving(*lab.records())
    lab.shell.run("kill", "-STOP", str(before.pid))
    after = lab.wait_for_unit(
        lambda unit: unit.restarts > before.restarts and unit.state == "active",
        "a restart by the watchdog",
        timeout_s=_WATCHDOG_S,
    )
    expect(after.pid != before.pid, "it is the same agent")
    journal = lab.shell.run(f"journalctl -b -u {UNIT} -o cat --no-pager")
    expect("Watchdog timeout" in journal, "the journal does not speak of the watchdog")
    lab.ask()
    return f"“Watchdog timeout”, restart {after.restarts}, then the model answers again"


@contextmanager
def _steady_requests(lab: Lab) -> Iterator[Counter[str]]:
    """One request after the other until the block ends; how many ended how."""
    outcomes: Counter[str] = Counter()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                lab.ask_once()
                outcomes["ok"] += 1
            except RemoteError as error:
                outcomes[error.device_code or "malformed"] += 1
            except ReplyTimeoutError:
                outcomes["no answer"] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield outcomes
    finally:
        stop.set()
        thread.join()


def _wait_for(outcomes: Counter[str], outcome: str, count: int, *, timeout_s: float = 240.0) -> None:
    deadline = time.monotonic() + timeout_s
    while outcomes[outcome] < count:
        expect(time.monotonic() < deadline, f"{count} {outcome} not within {timeout_s:g} s: {dict(outcomes)}")
        time.sleep(0.2)
