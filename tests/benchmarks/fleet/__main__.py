"""Measures `top`, `status`, `watch`, `dashboard` and `rollout` over a simulated fleet, and a pool; prints JSON.

python -m benchmarks.fleet --devices 10000 --only top status
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.child import child
from benchmarks.fleet.pool import measure
from benchmarks.fleet.simulator import MODEL, refuses
from benchmarks.fleet.terminal import terminal
from benchmarks.machine import read_machine
from benchmarks.scale.record import record
from support.broker.brokers import Broker, mosquitto_broker
from support.screen.browser import Page, find_chromium, open_browser
from support.screen.dashboards import running_dashboard

_OBSERVED_S = 10.0
_POOL_AGENTS = 20
_FIRST_VIEW_TIMEOUT_S = 90.0
_LONG_TASKS = """
window.longTasks = [];
new PerformanceObserver(list => longTasks.push(...list.getEntries().map(each => each.duration)))
  .observe({entryTypes: ["longtask"]});
"""


def measure_top(broker: Broker, devices: int) -> dict[str, Any]:
    """The live view in a terminal, from its start to the line that counts every device."""
    with terminal(["top", "--broker", broker.url]) as view:
        first_s = view.wait_for(rf"of {devices} devices online", timeout_s=_FIRST_VIEW_TIMEOUT_S)
        cpu_s = view.cpu_s()
        view.measure(seconds=3.0)
        return {
            "first_view_s": round(first_s, 2),
            "first_view_cpu_s": round(cpu_s, 2),
            **view.measure(seconds=_OBSERVED_S),
        }


def measure_once(broker: Broker, devices: int) -> dict[str, Any]:
    """The table, once, as JSON."""
    passed, output = _run("top", "--once", "--json", "--wait", "12", "--broker", broker.url)
    rows = len(json.loads(output)["rows"])
    return {**passed, "rows": rows, "is_complete": rows == devices}


def measure_status(broker: Broker, devices: int) -> dict[str, Any]:
    """The status of every device."""
    passed, output = _run("status", "--all", "--json", "--broker", broker.url)
    reports = len(json.loads(output))
    return {**passed, "devices": reports, "is_complete": reports == devices}


def measure_watch(broker: Broker, devices: int) -> dict[str, Any]:
    """A model's windows, as many as there are devices: telemetry arrives every ten seconds."""
    passed, output = _run("watch", MODEL, "--json", "--count", str(devices), "--broker", broker.url)
    return {**passed, "windows": len(output.splitlines())}


def measure_dashboard(broker: Broker, devices: int) -> dict[str, Any]:
    """The page in a browser: the first full view, and tasks that block it for longer than 50 ms."""
    if find_chromium() is None:
        return {"skipped": "chromium is not installed"}
    with (
        tempfile.TemporaryDirectory() as profile,
        running_dashboard(broker) as served,
        open_browser(Path(profile), loopback=True) as page,
    ):
        start_s = time.monotonic()
        page.open(served.url)
        page.evaluate(_LONG_TASKS)
        page.wait_for(f"document.body.innerText.includes('of {devices} devices online')")
        first_s = time.monotonic() - start_s
        page.evaluate("longTasks.length = 0")
        page.call("Performance.enable", timeDomain="threadTicks")
        before_s = _page_cpu_s(page)
        time.sleep(_OBSERVED_S)
        cpu_s = _page_cpu_s(page) - before_s
        tasks = page.evaluate("longTasks")
        page.start_trace()
        time.sleep(_OBSERVED_S)
        page.end_trace()
        longest_cpu_ms = max(_tasks_cpu_ms(page.trace), default=0.0)
        elements = page.evaluate("document.querySelectorAll('*').length")
    return {
        "first_view_s": round(first_s, 2),
        "cpu_share": round(cpu_s / _OBSERVED_S, 3),
        "long_tasks": len(tasks),
        "longest_task_ms": round(max(tasks, default=0.0), 1),
        # A task also lasts while other programs have the processor.
        "longest_task_cpu_ms": round(longest_cpu_ms, 1),
        "elements": elements,
    }


def _page_cpu_s(page: Page) -> float:
    """Return the processor time that the page's main thread has taken."""
    metrics = {metric["name"]: metric["value"] for metric in page.call("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])


def _tasks_cpu_ms(trace: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    """Yield the processor time of each task of the page's main thread."""
    names = {
        (event["pid"], event["tid"]): event["args"]["name"] for event in trace if event.get("name") == "thread_name"
    }
    for event in trace:
        is_main = names.get((event["pid"], event["tid"])) == "CrRendererMain"
        if is_main and event.get("ph") == "X" and "RunTask" in event["name"]:
            yield event.get("tdur", 0) / 1000


def measure_pool(broker: Broker, devices: int) -> dict[str, Any]:
    """Real agents in a pool, beside the simulated fleet and over a broker of their own."""
    del broker, devices
    return measure(_POOL_AGENTS, _OBSERVED_S)


def measure_rollout(broker: Broker, devices: int, heal: Callable[[], None]) -> dict[str, Any]:
    """A roll-out that one device in a hundred refuses: it stops, is healed, and goes on."""
    with tempfile.TemporaryDirectory() as folder:
        where = ("--broker", broker.url, "--state", folder, "--json", "--timeout", "30")
        spec = ("--version", "2.0.0", "--source", "https://models.example/2.drupe", "--waves", "1,10%,100%")
        limits = ("--gate", "failed<0.5%", "--healthy-for", "2", "--active-within", "120", "--parallel", "2000")
        until_stop, output = _run("rollout", MODEL, *spec, *limits, *where, status=4)
        stopped = json.loads(output)
        heal()
        until_end, output = _run("rollout", "--resume", stopped["record"]["id"], *where)
        completed = json.loads(output)
    record = stopped["record"]
    return {
        "refusing": sum(refuses(f"sim-{number:05d}") for number in range(devices)),
        "until_stop": until_stop,
        "stopped": {"phase": record["phase"], "reason": record["reason"][:120], "waves": record["waves"]},
        "until_end": until_end,
        "completed": {
            "phase": completed["record"]["phase"],
            "healthy": sum(wave["healthy"] for wave in completed["record"]["waves"]),
            "later": len(completed["later"]),
        },
    }


MEASUREMENTS: dict[str, Callable[[Broker, int], dict[str, Any]]] = {
    "top": measure_top,
    "once": measure_once,
    "status": measure_status,
    "watch": measure_watch,
    "dashboard": measure_dashboard,
    "pool": measure_pool,
}


def main() -> None:
    """Start broker and fleet, measure, and print the result."""
    # Ended from outside, it must end the broker, the fleet and the views too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=[*MEASUREMENTS, "rollout"], default=[*MEASUREMENTS, "rollout"])
    parser.add_argument("--record", action="store_true", help="write each result to results/scale.json")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": read_machine(), "devices": options.devices}
    with tempfile.TemporaryDirectory() as folder, mosquitto_broker(Path(folder)) as broker:
        start_s = time.monotonic()
        argument = {"host": broker.host, "port": broker.port, "devices": options.devices}
        with child("benchmarks.fleet.simulator", argument) as simulator:
            result["introduced_s"] = round(time.monotonic() - start_s, 2)
            for name in options.only:
                if name == "rollout":
                    result[name] = measure_rollout(broker, options.devices, lambda: _heal(simulator))
                else:
                    result[name] = MEASUREMENTS[name](broker, options.devices)
                result[name]["load_average"] = round(os.getloadavg()[0], 1)
                # What was measured is not lost with what comes after it.
                if options.record:
                    count = _POOL_AGENTS if name == "pool" else options.devices
                    record(f"{name}_{count}", {"machine": result["machine"], **result[name]})
                print(f"{name}: {json.dumps(result[name])}", file=sys.stderr, flush=True)
            result["broker"] = _measure_broker(broker)
    print(json.dumps(result, indent=2))


def _heal(simulator: subprocess.Popen[str]) -> None:
    assert simulator.stdin is not None
    simulator.stdin.write("heal\n")
    simulator.stdin.flush()


def _measure_broker(broker: Broker) -> dict[str, float]:
    (process,) = (
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "mosquitto" and f"mosquitto-{broker.port}.conf" in " ".join(process.info["cmdline"])
    )
    return {
        "cpu_share": round(process.cpu_percent(interval=5.0) / 100, 3),
        "memory_mb": round(process.memory_info().rss / 1e6, 1),
    }


def _run(*words: str, status: int = 0) -> tuple[dict[str, float], str]:
    """Run a command; returns its time and processor time, and what it wrote."""
    start_s, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "drupelet_host", *words], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == status, (words, done.returncode, done.stderr[-2000:])
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(time.monotonic() - start_s, 2), "cpu_s": round(cpu_s, 2)}, done.stdout


if __name__ == "__main__":
    main()
