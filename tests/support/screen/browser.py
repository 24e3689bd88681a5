"""Headless Chromium without a network but loopback at most, driven over a pair of pipes by the DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

_TIMEOUT_S, _PATIENCE_S = 60.0, 30.0
_TEXT = "document.body.innerText"
_FLAGS = (
    "--headless=new",
    # The sandbox needs user namespaces, which containers seldom allow; the pages are our own.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and writes to 4.
_ON_PIPES = 'exec "$@" 3</dev/fd/$COMMANDS 4>/dev/fd/$REPLIES'

Scheme = Literal["light", "dark"]
Media = Literal["screen", "print"]


def find_chromium() -> str | None:
    """Return the browser's binary; None where it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@dataclass(slots=True)
class Page:
    """One tab, and what it did since it was opened.

    Attributes:
        requests: The URL of everything it asked for, whether or not that was let through.
        complaints: Console messages, uncaught errors and violations of the page's own policy.
        trace: What was recorded between `start_trace` and `end_trace`.
    """

    commands: BinaryIO
    replies: BinaryIO
    session: str = ""
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    trace: list[dict[str, Any]] = field(default_factory=list)
    _is_traced: bool = False
    _count: int = 0
    _loaded: bool = False
    _buffer: bytes = b""

    def open(self, url: str) -> None:
        """Load a page and wait for it."""
        self.requests.clear()
        self.complaints.clear()
        self._loaded = False
        self.call("Page.navigate", url=url)
        while not self._loaded:
            self._handle(self._read())
        # What the page starts once it is loaded comes within a turn of its loop.
        self.evaluate("new Promise(done => setTimeout(done, 100))")

    def show(self, *, width: int, height: int = 900, scheme: Scheme = "light", media: Media = "screen") -> None:
        """Change the window (CSS pixels), the colour scheme that the person prefers, and what it is shown on."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - whatever the page gives
        """Return the value of a JavaScript expression, a promise's when it is kept."""
        reply = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def wait_for(self, condition: str) -> Any:  # noqa: ANN401 - whatever the condition gives
        """Wait until an expression is true, and return its value."""
        deadline = time.monotonic() + _PATIENCE_S
        while not (value := self.evaluate(condition)):
            assert time.monotonic() < deadline, f"never came true: {condition}: {self.evaluate(_TEXT)}"
            time.sleep(0.05)
        return value

    def drop_file(self, zone: str, payload: bytes, name: str) -> None:
        """Drop a file on the element that a selector finds."""
        self.evaluate(f"""(() => {{
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array({list(payload)})], "{name}"));
          const zone = document.querySelector("{zone}");
          for (const type of ["dragenter", "dragover", "drop"])
            zone.dispatchEvent(new DragEvent(type, {{dataTransfer: data, bubbles: true, cancelable: true}}));
        }})()""")

    def start_trace(self) -> None:
        """Record the tasks of all threads from now on."""
        self.trace.clear()
        self._is_traced = True
        self.call("Tracing.start", traceConfig={"includedCategories": ["toplevel"]})

    def end_trace(self) -> None:
        """Stop recording, and wait until all of it is in `trace`."""
        self.call("Tracing.end")
        while self._is_traced:
            self._handle(self._read())

    def screenshot(self) -> bytes:
        """Return the whole page as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - as the protocol has them
        """Send one command and wait for its reply."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.commands.write(json.dumps(message).encode() + b"\0")
        self.commands.flush()
        while (reply := self._read()).get("id") != self._count:
            self._handle(reply)
        assert "error" not in reply, f"{method}: {reply['error']}"
        result: dict[str, Any] = reply["result"]
        return result

    def _handle(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Tracing.dataCollected":
            self.trace.extend(parameters["value"])
        elif method == "Tracing.tracingComplete":
            self._is_traced = False
        elif method == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif method in {"Runtime.consoleAPICalled", "Runtime.exceptionThrown"}:
            self.complaints.append(json.dumps(parameters))

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + _TIMEOUT_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self.replies], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"the browser said nothing for {_TIMEOUT_S} s"
            chunk = os.read(self.replies.fileno(), 1 << 16)
            assert chunk, "the browser closed its pipe"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


@contextmanager
def open_browser(profile: Path, *, loopback: bool = False) -> Iterator[Page]:
    """Yield a browser with one empty tab.

    Args:
        profile: An empty folder for what it writes.
        loopback: Whether pages may reach 127.0.0.1; they reach nothing otherwise.
    """
    binary = find_chromium()
    assert binary is not None, "chromium is not installed"
    commands_in, commands_out = os.pipe()
    replies_in, replies_out = os.pipe()
    given = {"COMMANDS": str(commands_in), "REPLIES": str(replies_out), "HOME": str(profile)}
    with (
        (profile / "chromium.log").open("wb") as log,
        os.fdopen(commands_out, "wb") as commands,
        os.fdopen(replies_in, "rb") as replies,
        subprocess.Popen(
            ["sh", "-c", _ON_PIPES, "sh", binary, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(commands_in, replies_out),
            env={**os.environ, **given},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        os.close(commands_in)
        os.close(replies_out)
        try:
            page = Page(commands, replies)
            _attach(page, offline=not loopback)
            yield page
            page.session = ""
            page.call("Browser.close")
            process.wait(timeout=20)
        finally:
            process.kill()


def _attach(page: Page, *, offline: bool) -> None:
    tabs = page.call("Target.getTargets")["targetInfos"]
    tab = next(info["targetId"] for info in tabs if info["type"] == "page")
    page.session = page.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
    for domain in ("Page", "Network", "Log", "Runtime"):
        page.call(f"{domain}.enable")
    page.call(
        "Network.emulateNetworkConditions", offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1
    )


def press(page: Page, key: str, *, code: int = 0, text: str = "") -> None:
    """Press and release one key of the keyboard."""
    names = {"key": key, "windowsVirtualKeyCode": code, "text": text}
    page.call("Input.dispatchKeyEvent", type="keyDown", **names)
    page.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)
