"""A bare machine becomes a device: it boots, the agent is installed without a network, the unit starts."""

from __future__ import annotations

from emulated.machine.lab import UNIT, Lab, expect

_WHEELHOUSE = "/root/wheelhouse"
# Byte code for the engines' packages is compiled under emulation: minutes on an idle host, more on a busy one.
_INSTALL_S = 3600.0


def boots_under_systemd(lab: Lab) -> str:
    """A machine with nothing installed yet comes up whole."""
    lab.boot()
    state = lab.shell.run("systemctl is-system-running --wait || true")
    expect(state == "running", f"systemd says {state!r}: {lab.shell.run('systemctl --failed --no-legend')}")
    version = lab.shell.run("systemctl --version").split()[1]
    part = lab.shell.run("sort -u /sys/devices/system/cpu/cpu*/regs/identification/midr_el1")
    expect(part == "0x00000000410fd083", f"the processor is {part}, no Cortex-A72 r0p3")
    cores = lab.shell.run("nproc")
    kernel = lab.shell.run("uname -r")
    return f"Linux {kernel}, systemd {version} as PID 1, {cores} Cortex-A72 r0p3, nothing failed"


def installs_from_the_wheelhouse(lab: Lab) -> str:
    """`install.sh` runs from a copied wheelhouse on a machine that has no route to anywhere."""
    expect(not lab.shell.run("ip route show default"), "the guest has a way out: it would prove nothing")
    expect("gcc" not in lab.shell.run("ls /usr/bin"), "the guest has a compiler: it would prove nothing")
    lab.shell.copy(lab.work / "wheelhouse", to="/root/", timeout_s=_INSTALL_S)
    said = lab.shell.run(f"sh {_WHEELHOUSE}/install.sh", timeout_s=_INSTALL_S)
    expect("install: done:" in said, said)
    unit = lab.wait_for_unit(lambda unit: unit.text.startswith("waiting for the broker"), "waiting for a broker")
    expect(unit.state == "active", f"without a broker the unit is {unit.state}: what is ordered behind it hangs")
    kib = lab.shell.run("du -sk /opt/drupelet/versions").split()[0]
    version = said.rsplit("done: ", 1)[1].splitlines()[0]
    seen = "without a broker the unit is `active`, and its status says what it waits for"
    return f"{version} in {int(kib) // 1024} MiB; {seen}"


def a_second_installation_changes_nothing(lab: Lab) -> str:
    """`install.sh` is idempotent."""
    before = lab.unit().pid
    said = lab.shell.run(f"sh {_WHEELHOUSE}/install.sh", timeout_s=_INSTALL_S)
    expect("nothing to do" in said, said)
    expect(lab.unit().pid == before, "the agent was started again")
    return "“nothing to do”, the agent was not touched"


def the_unit_starts(lab: Lab) -> str:
    """With a broker it becomes ready, as its own user and sandboxed by a kernel that has all of it."""
    lab.configure()
    unit = lab.wait_until_serving()
    owner = lab.shell.run(f"stat -c %U /proc/{unit.pid}")
    status = lab.shell.run(f"cat /proc/{unit.pid}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    expect(fields["NoNewPrivs"] == "1", "the agent could gain privileges")
    expect(fields["Seccomp"] == "2", "no system call filter is in force")
    expect(int(fields["CapBnd"], 16) == 0, f"capabilities are left: {fields['CapBnd']}")
    watchdog = lab.shell.run(f"systemctl show -p WatchdogUSec --value {UNIT}")
    refusal = lab.shell.run(f"nsenter -t {unit.pid} -m touch /etc/probe 2>&1 || true")
    expect("Read-only file system" in refusal, f"its mount namespace is writable: {refusal!r}")
    return f"ready, “{unit.text}”; user {owner}, no capabilities, seccomp filter, read-only /etc, watchdog {watchdog}"
