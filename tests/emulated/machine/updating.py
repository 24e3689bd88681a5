"""Updates that turn out bad: a model's release that breaks its contract, and an agent that does not start."""

from __future__ import annotations

import time

from drupelet_host.errors import RemoteError
from emulated.machine.delivery import push
from emulated.machine.lab import PATIENCE_S, Lab, expect
from emulated.machine.wheelhouse import make_broken
from support.package.served_packages import greedy_model

_TOO_BRIGHT = 10_000.0
_INSTALL_S = 1200.0


def a_release_that_fails_in_service_is_rolled_back(lab: Lab) -> str:
    """It passes every check before activation, and then fails on most requests."""
    lab.boot()
    good, before = lab.active_release(), lab.wait_until_serving(*lab.records())
    package, bad = lab.make_package(model=greedy_model())
    push(lab, package)
    lab.wait_for_release(bad)
    deadline = time.monotonic() + PATIENCE_S
    requests = 0
    while lab.active_release() != good:
        expect(time.monotonic() < deadline, f"release {bad} was not rolled back after {requests} requests")
        for _ in range(10):
            requests += 1
            try:
                lab.ask(brightness=_TOO_BRIGHT)
            except RemoteError:
                continue
    state = lab.wait_for_release(good)
    expect(lab.ask().model_version == f"{good}.0.0", "another release answers")
    expect(lab.unit().pid == before.pid, "the agent was started again")
    return f"release {bad} went by itself, release {good} answers: “{state.error}”"


def an_agent_that_does_not_start_is_rolled_back(lab: Lab) -> str:
    """`install.sh` switches, sees that the service fails, and switches back."""
    lab.boot()
    lab.wait_until_serving(*lab.records())
    current = lab.shell.run("readlink /opt/drupelet/current")
    (pip,) = (lab.work / "wheelhouse").glob("pip-*.whl")
    make_broken(lab.work / "broken", pip=pip)
    lab.shell.copy(lab.work / "broken", to="/root/", timeout_s=_INSTALL_S)
    said = lab.shell.run("sh /root/broken/install.sh 2>&1; echo status $?", timeout_s=_INSTALL_S)
    expect("going back to" in said and said.endswith("status 1"), said)
    expect(lab.shell.run("readlink /opt/drupelet/current") == current, "the new version is current still")
    lab.wait_until_serving(*lab.records())
    lab.ask()
    return "“the service does not start”, back to the version before, status 1; the models answer"
