"""Does what a page of the documentation says, in one shell, in a scratch copy of the checkout."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from support.broker.brokers import Broker, embedded_broker
from support.broker.secured_broker import SecuredBroker
from support.package.served_packages import make_keys, make_package
from support.screen.documentation import ROOT, Command, File, Page

COMMAND_TIMEOUT_S = 500.0
_BEGINS, _ENDS = "=== a command begins ===", "=== and ends with"
# What a checkout has that pages speak of; the rest is code, which is found through PYTHONPATH.
_COPIED = ("host/examples", "deploy", "systemd", "shared/docs/schemas")
_IGNORED = shutil.ignore_patterns("__pycache__", "build", "*.pt", "*.onnx", "*.drupe")
_HOST_KEY = re.compile(r'^(?P<key>(?:broker\.)?)host = "(?:localhost|broker\.local)"', re.MULTILINE)
_URL = re.compile(r"mqtt://((?:\w+@)?)(?:localhost|broker\.local)\b(?!:)")
_ADDRESS = re.compile(r'BrokerAddress\("(?:localhost|broker\.local)"\)')
_INSTALLS = re.compile(r"make-ca authority install")


@dataclass(frozen=True, slots=True)
class Done:
    """A command that was run."""

    command: Command
    output: str
    status: int
    seconds: float

    @property
    def faults(self) -> list[str]:
        """How it differs from what the page says."""
        found = [] if self.status == self.command.status else [f"exit status {self.status}, not {self.command.status}"]
        lines = iter(self.output.splitlines())
        for expected in self.command.expected:
            pattern = re.compile(".*".join(map(re.escape, expected.strip().split("…"))))
            if expected.strip() != "…" and not any(pattern.search(line) for line in lines):
                found.append(f"it does not print {expected!r}, or not there")
        return found


@dataclass(frozen=True, slots=True)
class Place:
    """The broker that stands for the one on the page.

    Attributes:
        rules: What is replaced by what in commands and files.
        url: What commands take where they are told none.
        install: Called when a page has the broker's machine take its files.
    """

    rules: tuple[tuple[re.Pattern[str], str], ...] = ()
    url: str | None = None
    install: Callable[[], object] = lambda: None

    def __call__(self, text: str) -> str:
        """Return the text as it is for this broker."""
        for pattern, replacement in self.rules:
            text = pattern.sub(replacement, text)
        return text


@contextmanager
def place_for(page: Page, checkout: Path) -> Iterator[Place]:
    """Yield the broker that a page needs."""
    with ExitStack() as stack:
        if page.broker == "embedded":
            broker = stack.enter_context(embedded_broker())
            rules = (
                (_URL, rf"mqtt://\g<1>{broker.host}:{broker.port}"),
                (_HOST_KEY, _host_key(broker)),
                (_ADDRESS, f'BrokerAddress("{broker.host}", {broker.port})'),
            )
            yield Place(rules=rules, url=broker.url)
        elif page.broker == "secured":
            secured = SecuredBroker(checkout / page.folder / "authority", work=checkout)
            ports = {"8883": secured.port, "8884": secured.people_port}
            rules = tuple((re.compile(old), str(new)) for old, new in {**ports, r"broker\.local": "localhost"}.items())
            running = stack.enter_context(ExitStack())

            def install() -> None:
                running.close()
                running.enter_context(secured)

            yield Place(rules=rules, install=install)
        else:
            yield Place()


def _host_key(broker: Broker) -> str:
    return rf'\g<key>host = "{broker.host}"\n\g<key>port = {broker.port}'


def prepare(page: Page, checkout: Path) -> None:
    """Make what a clone of the repository has, as far as pages speak of it, and what earlier guides have made."""
    for name in _COPIED:
        shutil.copytree(ROOT / name, checkout / name, ignore=_IGNORED)
    folder = checkout / page.folder
    folder.mkdir(parents=True, exist_ok=True)
    if page.package:
        keys = make_keys(folder)
        for release in (1, 2):
            make_package(folder, keys, name=page.package, release=release)
        Image.new("L", (8, 8), 128).save(folder / "picture.png")


def follow(page: Page, checkout: Path, *, place: Place, cache: Path) -> Iterator[Done]:
    """Write the page's files and run its commands, in order; those that are marked as not run are left out."""
    with _shell(checkout / page.folder, _environment(checkout, cache, place)) as shell:
        for step in page.steps:
            if isinstance(step, File):
                path = shell.folder() / step.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(place(step.text), encoding="utf-8")
            elif step.reason is None:
                yield shell.run(step, place(step.text))
            elif _INSTALLS.search(step.text):
                place.install()


def _environment(checkout: Path, cache: Path, place: Place) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DRUPELET_", "XDG_"))}
    home = checkout / "home"
    home.mkdir(exist_ok=True)
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(cache),
        # Threads of torch that wait turn round and round otherwise, which takes the other tests' processor away.
        "OMP_WAIT_POLICY": "passive",
        "COLUMNS": "120",
        "TERM": "dumb",
        **({"DRUPELET_BROKER": place.url} if place.url else {}),
    }


class _Shell:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._text = ""

    def folder(self) -> Path:
        """Where the shell is now."""
        return Path(f"/proc/{self._process.pid}/cwd").resolve()

    def run(self, command: Command, text: str) -> Done:
        """Run one command to its end; one that ends with `&` until it says that it serves."""
        assert self._process.stdin is not None
        start = time.monotonic()
        self._process.stdin.write(f'echo "{_BEGINS}"\n{text}\nprintf "\\n{_ENDS} %d\\n" $?\n'.encode())
        self._process.stdin.flush()
        self._read_until(re.escape(_BEGINS) + "\n")
        output, ending = self._read_until(rf"{_ENDS} (\d+)\n")
        if text.endswith("&"):
            output += self._read_until(re.escape(command.ready))[0]
        return Done(command, output, int(ending[1]), time.monotonic() - start)

    def _read_until(self, pattern: str) -> tuple[str, re.Match[str]]:
        assert self._process.stdout is not None
        deadline = time.monotonic() + COMMAND_TIMEOUT_S
        while not (found := re.search(pattern, self._text)):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"waited {COMMAND_TIMEOUT_S} s for {pattern}, saw\n{self._text}"
            chunk = os.read(self._process.stdout.fileno(), 1 << 16)
            assert chunk, f"the shell ended: {self._text}"
            self._text += chunk.decode(errors="replace")
        before, self._text = self._text[: found.start()], self._text[found.end() :]
        return before, found


@contextmanager
def _shell(folder: Path, environment: Mapping[str, str]) -> Iterator[_Shell]:
    """Yield a bash whose background processes end with it."""
    with subprocess.Popen(
        ["bash", "--noprofile", "--norc"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            yield _Shell(process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
