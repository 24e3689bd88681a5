"""The emulated machine as a process of the host's: switched on, shut down, and cut off from its power."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from drupelet_host.demo.broker import free_port
from emulated.machine.shell import CommandError, Shell

_CORES, _MEMORY_MIB = 4, 1024
# Half a minute on a quiet host.
_BOOT_S, _SHUTDOWN_S = 600.0, 180.0
_POLL_S = 0.5


class Machine:
    """QEMU's `virt` board with a Raspberry Pi 4's processor; QEMU's own Pi 4 has no network."""

    def __init__(self, parts: Path, *, work: Path) -> None:
        """Take the parts that `deploy/emulator/prepare-machine` made.

        Args:
            parts: Their folder; nothing is written there.
            work: Where this machine's disk and its console's text go.
        """
        self._parts = parts
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None
        self.kernel_options: tuple[str, ...] = ()
        # The name of a Unix socket is short.
        self.shell = Shell(port=free_port(), key=parts / "key", control=Path(f"/tmp/drupelet-{os.getpid()}.ssh"))

    @property
    def disk(self) -> Path:
        """Its disk, which outlives the process."""
        return self._work / "disk.img"

    @property
    def console(self) -> Path:
        """What kernel and systemd printed, all boots together."""
        return self._work / "console.log"

    @property
    def is_on(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def renew_disk(self) -> None:
        """Put in a disk on which nothing is installed yet."""
        self._work.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "--sparse=always", self._parts / "disk.img", self.disk], check=True)
        self.console.unlink(missing_ok=True)

    def power_on(self, *, kernel_options: Sequence[str] = ()) -> float:
        """Boot until root can log in, and return how many seconds that took here.

        Raises:
            CommandError: It did not get that far; the console says why.
        """
        start = time.monotonic()
        self.kernel_options = tuple(kernel_options)
        with self.console.open("ab") as console:
            self._process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        deadline = start + _BOOT_S
        while self.is_on and time.monotonic() < deadline:
            with suppress(CommandError):
                self.shell.run("true", timeout_s=20)
                return time.monotonic() - start
            time.sleep(_POLL_S)
        raise CommandError(f"the machine {'is not up' if self.is_on else 'ended'}: see {self.console}")

    def cut_power(self) -> None:
        """End it at once: whatever the guest has not written to its disk by now is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._forget_connection()

    def shut_down(self) -> None:
        """Let systemd end everything in good order.

        Raises:
            CommandError: It did not end in time.
        """
        with suppress(CommandError):
            # The connection may end before the command does.
            self.shell.run("systemctl poweroff", timeout_s=30)
        try:
            assert self._process is not None
            self._process.wait(_SHUTDOWN_S)
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"the machine is not off after {_SHUTDOWN_S:g} s: see {self.console}") from error
        self._forget_connection()

    def _forget_connection(self) -> None:
        # The client that holds it would find out by itself only later.
        with suppress(FileNotFoundError):
            command = ["ssh", "-o", f"ControlPath={self.shell.control}", "-O", "exit", "guest"]
            subprocess.run(command, capture_output=True, timeout=30, check=False)
            self.shell.control.unlink(missing_ok=True)

    def _command(self) -> list[str]:
        options = ("root=/dev/vda", "console=ttyAMA0", "quiet", "systemd.show_status=false", *self.kernel_options)
        qemu = shutil.which("qemu-system-aarch64")
        assert qemu is not None, "prepare-machine installs it"
        return [
            *(qemu, "-M", "virt", "-cpu", "cortex-a72", "-smp", str(_CORES), "-m", str(_MEMORY_MIB)),
            *("-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"),
            *("-kernel", str(self._parts / "kernel"), "-initrd", str(self._parts / "initrd")),
            *("-append", " ".join(options)),
            *("-drive", f"if=none,id=disk,format=raw,file={self.disk}"),
            *("-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"),
            *("-netdev", f"user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:{self.shell.port}-:22"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
        ]
