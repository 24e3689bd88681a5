"""Root's shell on the emulated machine, over SSH."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_S = 300.0


class CommandError(Exception):
    """A command in the guest failed; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class Shell:
    """One connection that all commands share: under emulation each handshake takes a second.

    Attributes:
        port: Of the host's loopback; it leads to the guest's SSH.
        key: The private key.
        control: The socket of the shared connection.
    """

    port: int
    key: Path
    control: Path

    def run(self, *words: str, timeout_s: float = _TIMEOUT_S) -> str:
        """Run a command to its end and return what it printed on standard output, stripped.

        Args:
            *words: One word is a line for the shell, several are a program and its arguments.
            timeout_s: How long it may take.

        Raises:
            CommandError: It ended with another status than 0, or not in time.
        """
        line = words[0] if len(words) == 1 else shlex.join(words)
        command = ["ssh", *self._options("-p"), "root@127.0.0.1", line]
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"`{line}` in the guest: not done within {timeout_s:g} s") from error
        if result.returncode:
            said = f"{result.stdout}{result.stderr}".strip()[-2000:]
            raise CommandError(f"`{line}` in the guest: status {result.returncode}: {said}")
        return result.stdout.strip()

    def start(self, line: str) -> subprocess.Popen[str]:
        """Run a command and read its lines while they come; standard output and error are one."""
        command = ["ssh", *self._options("-p"), "root@127.0.0.1", line]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
        )

    def copy(self, *sources: Path, to: str, timeout_s: float = _TIMEOUT_S) -> None:
        """Copy files and folders into the guest.

        Raises:
            CommandError: It failed.
        """
        command = ["scp", "-rq", *self._options("-P"), *map(str, sources), f"root@127.0.0.1:{to}"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        if result.returncode:
            raise CommandError(f"copying to {to}: {result.stderr.strip()}")

    def write(self, path: str, text: str) -> None:
        """Write a small file."""
        self.run(f"printf %s {shlex.quote(text)} > {shlex.quote(path)}")

    def _options(self, port_option: str) -> list[str]:
        settings = {
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "ControlMaster": "auto",
            "ControlPath": str(self.control),
            "ControlPersist": "60",
            "LogLevel": "ERROR",
            # A machine that was made here belongs to this run.
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
        return [port_option, str(self.port), "-i", str(self.key), *options]
