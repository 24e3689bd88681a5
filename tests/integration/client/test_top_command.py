"""`drupelet top` as a process, over real brokers, with many devices that publish and in a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Sequence

import pytest

from support.agent.fleets import SimulatedFleet, publishing
from support.agent.processes import killed_at_the_end
from support.broker.brokers import Broker

COUNT = 60
_PATIENCE_S = 30.0


def top_command(broker: Broker, *options: str) -> list[str]:
    return [sys.executable, "-m", "drupelet_host", "top", "--broker", broker.url, *options]


def top(broker: Broker, *options: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(top_command(broker, *options), capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == status, result.stderr
    return result


def test_once_waits_for_telemetry_and_prints_every_device(broker: Broker) -> None:
    with publishing(broker, SimulatedFleet(COUNT)):
        document = json.loads(top(broker, "--once", "--json", "--sort", "p99_ms").stdout)
    rows = document["rows"]
    assert document["summary"]["devices"] == COUNT
    assert document["summary"]["online"] == COUNT - 3
    assert len(rows) == document["summary"]["models"] == COUNT + COUNT // 2
    assert all(row["requests_per_s"] > 0 for row in rows if row["connection"] == "online")
    latencies = [row["p99_ms"] for row in rows if row["p99_ms"] is not None]
    assert latencies == sorted(latencies, reverse=True)


def test_a_table_is_whole_lines_also_where_nobody_looks(embedded: Broker) -> None:
    with publishing(embedded, SimulatedFleet(COUNT)):
        result = top(embedded, "--once", "--filter", "pi-001 digits")
    heading, row = result.stdout.splitlines()
    assert heading.split()[:3] == ["device", "status", "model"]
    assert row.split()[:5] == ["pi-001", "online", "digits", "ready", "ort-static-wi8-ai8"]
    assert "57 of 60 devices online" in result.stderr


def test_json_without_once_is_a_line_at_each_interval(embedded: Broker) -> None:
    command = top_command(embedded, "--json", "--interval", "0.2")
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with publishing(embedded, SimulatedFleet(COUNT)), killed_at_the_end(started) as process:
        assert process.stdout is not None
        documents = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert documents[-1]["at"] > documents[0]["at"]
    assert documents[-1]["summary"]["devices"] == COUNT


def test_a_broker_without_devices_is_an_empty_list(embedded: Broker) -> None:
    result = top(embedded, "--once", "--json", "--wait", "1", "--prefix", "nobody/here")
    assert json.loads(result.stdout)["rows"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "standard output is not a terminal: use --once or --json"),
        (["--once", "--sort", "speed"], "sort 'speed': expected one of device, connection"),
    ],
)
def test_wrong_usage_is_exit_status_2(embedded: Broker, options: list[str], message: str) -> None:
    assert message in top(embedded, *options, status=2).stderr


def test_a_broker_that_is_not_there_is_exit_status_1() -> None:
    nowhere = Broker(host="127.0.0.1", port=9, port_311=9, kind="embedded")
    assert "[broker_unreachable]" in top(nowhere, "--once", status=1).stderr


def test_the_live_view_draws_in_a_terminal_and_q_ends_it(embedded: Broker) -> None:
    seen, status = in_a_terminal(embedded, "57 of 60 devices online", "pi-000", "digits")
    assert status == 0, seen[-2000:]
    assert any(not is_grey(colour) for colour in colours(seen))


def test_no_color_leaves_shades_of_grey(embedded: Broker) -> None:
    seen, _ = in_a_terminal(embedded, "pi-000", "digits", "pi-005", "throttled", NO_COLOR="1")
    assert colours(seen)
    assert [colour for colour in colours(seen) if not is_grey(colour)] == []


def in_a_terminal(broker: Broker, *words: str, **variables: str) -> tuple[str, int]:
    """What the live view draws until it has drawn all words in this order, and its exit status after q."""
    terminal, inside = pty.openpty()
    termios.tcsetwinsize(inside, (30, 170))
    # COLUMNS and LINES, which pytest-xdist sets, would count for more than the terminal's size.
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
    environment = {**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor", **variables}
    started = subprocess.Popen(top_command(broker), stdin=inside, stdout=inside, stderr=inside, env=environment)
    with publishing(broker, SimulatedFleet(COUNT)), killed_at_the_end(started) as process:
        os.close(inside)
        seen = read_until(terminal, words)
        os.write(terminal, b"q")
        drain(terminal, process)
    os.close(terminal)
    return seen, process.returncode


def colours(seen: str) -> set[tuple[int, int, int]]:
    """The 24-bit colours of text and background; the last may be cut in the middle."""
    found = re.findall(r"[34]8;2;(\d+);(\d+);(\d+)[;m]", seen)
    return {(int(red), int(green), int(blue)) for red, green, blue in found}


def is_grey(colour: tuple[int, int, int]) -> bool:
    return len(set(colour)) == 1


def read_until(terminal: int, words: Sequence[str]) -> str:
    """What the terminal gets until the words were in it, one after the other."""
    seen, deadline = "", time.monotonic() + _PATIENCE_S
    while not follow_each_other(seen, words):
        ready, _, _ = select.select([terminal], [], [], 1.0)
        assert time.monotonic() < deadline, f"never saw {words}: {seen[-2000:]}"
        if ready:
            seen += os.read(terminal, 1 << 16).decode(errors="replace")
    return seen


def follow_each_other(text: str, words: Sequence[str]) -> bool:
    """What a pattern with `.*` between them finds, which takes too long where the last is missing."""
    for word in words:
        _, found, text = text.partition(word)
        if not found:
            return False
    return True


def drain(terminal: int, process: subprocess.Popen[bytes]) -> None:
    """Read on until the process is gone, as a terminal does."""
    deadline = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 0.1)
        if ready:
            try:
                os.read(terminal, 1 << 16)
            except OSError:  # Linux gives EIO once the other side is closed
                break
    process.wait(_PATIENCE_S)
