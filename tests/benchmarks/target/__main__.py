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
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.engines.networks import INPUT_SHAPE, build
from benchmarks.instructions.emulator import ROOT
from benchmarks.machine import read_machine
from benchmarks.target import device_loop
from benchmarks.target.plans import compare_plans
from benchmarks.target.recorded import model_recorded_rows
from benchmarks.target.subjects import Subject, make_subjects
from benchmarks.target.trained import compile_for_target
from drupelet_host.estimation.model_files import estimate_file, require_table
from drupelet_host.export.onnx import export_onnx
from drupelet_host.latency.machine import describe_machine
from drupelet_host.latency.modelled.layers import ENGINES
from drupelet_host.latency.modelled.table import LatencyTable
from drupelet_shared.files import write_atomically
from support.broker.brokers import embedded_broker

_TARGET = "raspberry_pi_4"
_WORK = ROOT / ".bench/target"
_DATA = ROOT.parent / "shared/data/fashion-mnist"
_NETWORKS = tuple(make_subjects(_DATA, _WORK))
_PARTS = ("plans", "loop", "estimate", "recorded", "trained")
_LEAST_REDUCTION, _LEAST_NETWORKS, _NETWORKS_AIMED_AT = 0.15, 2, 3
_LONGEST_ESTIMATE_S = 5.0
_HIGHEST_P99_RATIO = 1.5
# That are compiled in the part that trains.
_RECIPES = 2
_TIMES_FASTER = {
    "times_faster_than_best_unpruned_peer": 12.0,
    "times_faster_than_float_in_onnxruntime": 20.0,
    "times_faster_at_best_peers_accuracy": 4.0,
}


def main() -> None:
    """Run the parts that are not done yet and print everything."""
    parser = argparse.ArgumentParser(prog="target", description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=_WORK, metavar="FOLDER", help="results; default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, help="default: all")
    parser.add_argument("--networks", nargs="+", choices=_NETWORKS, default=_NETWORKS, help="default: all")
    parser.add_argument("--data", type=Path, default=_DATA, metavar="FOLDER", help="of Fashion-MNIST's four IDX files")
    parser.add_argument("--steps", type=int, default=8, help="of each way through a network (default: %(default)s)")
    parser.add_argument(
        "--epochs", type=int, default=20, help="of recovery a step, in the part that trains (default: %(default)s)"
    )
    parser.add_argument(
        "--passes", type=int, default=165, help="of recovery at most, in the part that trains (default: %(default)s)"
    )
    parser.add_argument(
        "--max-latency",
        nargs="+",
        default=["0.78 ms", "2.1 ms"],
        help="of one or two recipes, in the part that trains (default: %(default)s)",
    )
    parser.add_argument("--recipes", type=int, default=10, help="with a board in the loop (default: %(default)s)")
    arguments = parser.parse_args()
    if len(arguments.max_latency) > _RECIPES:
        parser.error(f"--max-latency: {len(arguments.max_latency)} limits given, at most {_RECIPES}")
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
    print(json.dumps({"machine": read_machine(), "targets": judge(results), "results": results}, indent=2))


def judge(results: dict[str, dict[str, Any]]) -> dict[str, object]:
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
            "aim": f"{_LEAST_REDUCTION:.0%} on {_LEAST_NETWORKS} of {_NETWORKS_AIMED_AT} networks",
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
        before, during = loop["served_p99_ms"]["before"], loop["served_p99_ms"]["during"]
        judged["served_p99_during_over_before"] = {
            "aim": _HIGHEST_P99_RATIO,
            "reached": round(during / before, 2),
            "met": during <= _HIGHEST_P99_RATIO * before,
        }
    if "recorded" in results:
        judged |= _judge_times(results["recorded"]["comparisons"])
    if "trained" in results:
        times = _judge_times(results["trained"]["comparisons"])
        judged |= {f"trained_{name}": verdict for name, verdict in times.items()}
    if "estimate" in results:
        seconds = results["estimate"]["estimate_seconds"]
        judged["estimate_of_resnet18_seconds"] = {
            "aim": _LONGEST_ESTIMATE_S,
            "reached": seconds,
            "met": isinstance(seconds, float) and seconds < _LONGEST_ESTIMATE_S,
        }
    return judged


def _judge_times(comparisons: dict[str, Any]) -> dict[str, object]:
    return {
        name: {"aim": aim, "reached": comparisons[name], "met": comparisons[name] >= aim}
        for name, aim in _TIMES_FASTER.items()
        if name in comparisons
    }


def _list_parts(arguments: argparse.Namespace) -> Iterator[tuple[str, Callable[[], dict[str, object]]]]:
    table = require_table(_TARGET)
    if "estimate" in arguments.only:
        yield "estimate", _time_estimate
    if "plans" in arguments.only:
        subjects = make_subjects(arguments.data, arguments.work)
        for name in arguments.networks:
            make = subjects[name]
            yield f"plans-{name}", partial(_compare, name, make, table, steps=arguments.steps)
    if "recorded" in arguments.only:
        yield "recorded", lambda: model_recorded_rows(table, arguments.work)
    if "trained" in arguments.only:
        yield "trained", lambda: _compile(arguments, table)
    if "loop" in arguments.only:
        yield "loop", lambda: _run_loop(arguments.recipes)


def _compile(arguments: argparse.Namespace, table: LatencyTable) -> dict[str, object]:
    return compile_for_target(
        table,
        arguments.work,
        arguments.data,
        epochs=arguments.epochs,
        max_passes=arguments.passes,
        max_latencies=arguments.max_latency,
    )


def _compare(name: str, make: Callable[[], Subject], table: LatencyTable, *, steps: int) -> dict[str, object]:
    return compare_plans(name, make(), table, steps=steps)


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
