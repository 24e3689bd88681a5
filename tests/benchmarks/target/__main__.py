"""What deciding by the target is worth: the search by latency, boards in the loop, and the time of an estimate.

    PYTHONPATH=tests python -m benchmarks.target --only plans estimate

Finished parts are kept in the folder of `--work`, and a run that was ended goes on from them. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.engines.networks import INPUT_SHAPE, build
from benchmarks.instructions.emulator import ROOT
from benchmarks.target import device_loop
from benchmarks.target.plans import SUBJECTS, compare_plans
from drupelet_host.estimation.model_files import estimate_file, require_table
from drupelet_host.export.onnx import export_onnx
from drupelet_host.latency.machine import describe_machine
from drupelet_host.latency.modelled.layers import ENGINES
from drupelet_shared.files import write_atomically
from support.broker.brokers import embedded_broker

_TARGET = "raspberry_pi_4"
_WORK = ROOT / ".bench/target"
_PARTS = ("plans", "loop", "estimate")
_LEAST_REDUCTION, _LEAST_NETWORKS = 0.15, 2
_LONGEST_ESTIMATE_S = 5.0


def main() -> None:
    """Run the parts that are not done yet and print everything."""
    parser = argparse.ArgumentParser(prog="target", description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=_WORK, metavar="FOLDER", help="results; default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, help="default: all")
    parser.add_argument("--networks", nargs="+", choices=tuple(SUBJECTS), default=tuple(SUBJECTS))
    parser.add_argument("--steps", type=int, default=8, help="of each way through a network (default: %(default)s)")
    parser.add_argument("--recipes", type=int, default=10, help="with a board in the loop (default: %(default)s)")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name, run in _list_parts(arguments):
        path = arguments.work / f"{name}.json"
        if not path.is_file():
            print(f"{name}: running", file=sys.stderr, flush=True)
            start_s = time.monotonic()
            result = {"seconds": 0.0, "machine": describe_machine(), **run()}
            result["seconds"] = round(time.monotonic() - start_s, 1)
            write_atomically(path, json.dumps(result, indent=2).encode())
    results = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(arguments.work.glob("*.json"))
    }
    print(json.dumps({"targets": judge(results), "results": results}, indent=2))


def judge(results: dict[str, dict[str, object]]) -> dict[str, object]:
    """Return what was aimed for beside what was reached; a part that has not run is left out.

    Args:
        results: The results by the name of the part.
    """
    judged: dict[str, object] = {}
    reductions = {
        name.removeprefix("plans-"): result["median_reduction"]
        for name, result in results.items()
        if name.startswith("plans-")
    }
    if reductions:
        enough = [name for name, value in reductions.items() if isinstance(value, float) and value >= _LEAST_REDUCTION]
        judged["latency_driven_ms_lower_at_equal_metric"] = {
            "aim": f"{_LEAST_REDUCTION:.0%} on {_LEAST_NETWORKS} of {len(SUBJECTS)}",
            "reached": reductions,
            "met": len(enough) >= _LEAST_NETWORKS,
        }
    if "loop" in results:
        loop = results["loop"]
        judged["installed_within_the_limit"] = {
            "aim": "all that compiled",
            "reached": f"{loop['held']} of {loop['compiled']}",
            "met": loop["held"] == loop["compiled"],
        }
    if "estimate" in results:
        seconds = results["estimate"]["estimate_seconds"]
        judged["estimate_of_resnet18_seconds"] = {
            "aim": _LONGEST_ESTIMATE_S,
            "reached": seconds,
            "met": isinstance(seconds, float) and seconds < _LONGEST_ESTIMATE_S,
        }
    return judged


def _list_parts(arguments: argparse.Namespace) -> Iterator[tuple[str, Callable[[], dict[str, object]]]]:
    table = require_table(_TARGET)
    if "estimate" in arguments.only:
        yield "estimate", _time_estimate
    if "plans" in arguments.only:
        for name in arguments.networks:
            yield f"plans-{name}", lambda name=name: compare_plans(name, table, steps=arguments.steps)
    if "loop" in arguments.only:
        yield "loop", lambda: _run_loop(arguments.recipes)


def _time_estimate() -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="drupelet-bench-") as folder:
        path = Path(folder) / "resnet18.onnx"
        export_onnx(build("resnet18"), INPUT_SHAPE, path, output_names=("scores",))
        start_s = time.monotonic()
        estimates = estimate_file(path, target=_TARGET, engines=ENGINES)
        seconds = time.monotonic() - start_s
    return {
        "estimate_seconds": round(seconds, 3),
        "estimates": [{key: value for key, value in one.to_json().items() if key != "layers"} for one in estimates],
    }


def _run_loop(recipes: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="drupelet-bench-") as folder, embedded_broker() as broker:
        return device_loop.run(Path(folder), broker, recipes, seconds_before=20.0)


if __name__ == "__main__":
    main()
