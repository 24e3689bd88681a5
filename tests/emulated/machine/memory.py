"""A model that wants more memory than there is, with the kernel's memory limits and without them."""

from __future__ import annotations

from drupelet_host.errors import RemoteError
from emulated.machine.delivery import push
from emulated.machine.lab import UNIT, Lab, Unit, expect
from support.package.served_packages import greedy_model

# As on stock Raspberry Pi OS.
WITHOUT_LIMITS = "cgroup_disable=memory"
_GROUP = f"/sys/fs/cgroup/system.slice/{UNIT}"
# An image this bright makes the greedy model allocate 8 MB times as much, and touch it.
_HARMLESS, _BEYOND_LOWERED_LIMIT, _BEYOND_EVERYTHING = 1.0, 15.0, 10_000.0
_MARGIN_BYTES = 16 * 2**20


def the_kernel_ends_a_worker_beyond_the_units_limit(lab: Lab) -> str:
    """With memory control groups `MemoryMax=` holds, and costs the worker alone."""
    lab.boot()
    expect("memory" in lab.shell.run("cat /sys/fs/cgroup/cgroup.controllers").split(), "no memory control group")
    before = _serve_greedy(lab)
    current = int(lab.shell.run(f"cat {_GROUP}/memory.current"))
    lab.shell.run(f"systemctl set-property --runtime {UNIT} MemoryMax={current + _MARGIN_BYTES}")
    try:
        code = _code_of(lab, brightness=_BEYOND_LOWERED_LIMIT)
        kills = _oom_kills(lab)
    finally:
        lab.shell.run(f"systemctl set-property --runtime {UNIT} MemoryMax=infinity")
    expect(kills > 0, f"the kernel ended nothing; the request: {code}")
    expect(code != "ok", "the request was answered by a worker that is dead")
    _serves_on(lab, pid=before.pid)
    refusal = _refuses_too_much(lab, pid=before.pid)
    return f"beyond a lowered MemoryMax=: `{code}`, oom_kill {kills}; 80 GB: {refusal}; same agent, both models answer"


def without_the_kernels_limits_the_agents_own_hold(lab: Lab) -> str:
    """With `cgroup_disable=memory` systemd's limit is a number on paper; the agent limits its workers itself."""
    lab.boot(WITHOUT_LIMITS)
    expect("memory" not in lab.shell.run("cat /sys/fs/cgroup/cgroup.controllers").split(), "memory is limited still")
    before = _serve_greedy(lab)
    lab.shell.run(f"systemctl set-property --runtime {UNIT} MemoryMax=32M")
    try:
        shown = lab.shell.run(f"systemctl show -p MemoryMax --value {UNIT}")
        absent = lab.shell.run(f"test -e {_GROUP}/memory.max || echo absent")
        lab.ask("greedy", brightness=_BEYOND_LOWERED_LIMIT)
    finally:
        lab.shell.run(f"systemctl set-property --runtime {UNIT} MemoryMax=infinity")
    expect(absent == "absent", "the kernel limits the group's memory")
    refusal = _refuses_too_much(lab, pid=before.pid)
    return f"MemoryMax={shown} is shown and not enforced; 80 GB: {refusal}; same agent, both models answer"


def _serve_greedy(lab: Lab) -> Unit:
    """Serve the greedy model beside the other."""
    if "greedy" not in lab.records():
        package, _ = lab.make_package(model=greedy_model(), name="greedy")
        push(lab, package)
    unit = lab.wait_until_serving("digits", "greedy")
    lab.ask("greedy", brightness=_HARMLESS)
    return unit


def _refuses_too_much(lab: Lab, *, pid: int) -> str:
    """What a request for 80 GB is answered, after which everything is as before."""
    code = _code_of(lab, brightness=_BEYOND_EVERYTHING)
    expect(code != "ok", "80 GB were found in 1 GiB")
    _serves_on(lab, pid=pid)
    return f"`{code}`"


def _code_of(lab: Lab, *, brightness: float) -> str:
    try:
        lab.ask("greedy", brightness=brightness)
    except RemoteError as error:
        return error.device_code or "malformed"
    return "ok"


def _oom_kills(lab: Lab) -> int:
    events = dict(line.split() for line in lab.shell.run(f"cat {_GROUP}/memory.events").splitlines())
    return int(events["oom_kill"])


def _serves_on(lab: Lab, *, pid: int) -> None:
    after = lab.wait_until_serving("digits", "greedy")
    expect(after.pid == pid, "the agent was started again")
    lab.ask("digits")
    lab.ask("greedy", brightness=_HARMLESS)
