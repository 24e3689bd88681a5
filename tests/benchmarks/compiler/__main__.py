"""Compiles one ResNet18 with several tools and measures the results side by side; JSON and a Markdown table.

A row that is done is kept in the work folder, and so are measurements: a run that was ended goes on, on another machine
too, and removing `row-X.json` redoes row X. The recovery budget is the same for all and is counted in passes over the
training samples: a search of the compiler may spend so many over all its candidates, each peer fine-tunes for as many,
with the compiler's training loop on the labels, though a pass of its larger model computes more. Times are this
machine's and no device's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.compiler.emulated import Emulator
from benchmarks.compiler.jobs import Jobs, Limits
from benchmarks.compiler.litert import make_litert
from benchmarks.compiler.making import REPETITION, TITLES
from benchmarks.compiler.measuring import File, Line, measure_files
from benchmarks.compiler.ncnn import make_ncnn
from benchmarks.compiler.network import make_original
from benchmarks.compiler.report import compare_bytes, format_table, make_report
from benchmarks.compiler.rows import Row, find_row
from benchmarks.compiler.samples import read_test, write_archives
from benchmarks.compiler.setting import Setting, load_setting, name_machine
from benchmarks.machine import read_machine
from drupelet_shared.files import write_atomically

# The order in which they begin where they cannot all be made at once: the longest first.
_ORDER = ("a", "f", "b", "e", "d", "c", "g", "f2")
_EXIT_MISSED = 1
_MACHINES = "machines.json"
_SECONDS_PER_MINUTE = 60
_PACKAGES = (
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "torch",
    "torch-pruning",
    "nncf",
    "ai-edge-litert",
    "litert-torch",
    "ncnn",
    "pnnx",
)


def main() -> int:
    """Make the rows, measure them, print both forms; with `--check`, 1 if a target was missed."""
    start_s = time.monotonic()
    arguments = _parser().parse_args()
    setting = _setting(arguments)
    setting.work.mkdir(parents=True, exist_ok=True)
    machines = _remember_machine(setting)
    wanted = ["a", *(name for name in _ORDER if name != "a" and name in arguments.rows.split(","))]
    missing = [name for name in wanted if find_row(name, setting=setting) is None]
    skipped = _make(missing, setting, arguments, start_s=start_s) if missing else {}
    rows = [row for name in TITLES if (row := find_row(name, setting=setting)) is not None]
    lines = _measure(rows, setting, arguments)
    # The rows were made as the run that made them was told.
    told = load_setting(setting.work)
    report = make_report(rows, lines, same=compare_bytes(rows), skipped=skipped, machines=machines, setting=told)
    table = format_table(lines)
    _keep(setting, "report.json", report)
    write_atomically(setting.work / "report.md", f"{table}\n".encode())
    print(json.dumps(report, indent=2, default=str))
    print(table, file=sys.stderr)
    print(json.dumps({"targets": report["targets"], "skipped": skipped}, indent=1), file=sys.stderr)
    return _EXIT_MISSED if arguments.check and not all(target["met"] for target in report["targets"]) else 0


def _remember_machine(setting: Setting) -> dict[str, object]:
    """Return every machine that this folder's numbers may come from, by name."""
    path = setting.work / _MACHINES
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known[name_machine()] = read_machine(_PACKAGES)
    _keep(setting, _MACHINES, known)
    return dict(known)


def _keep(setting: Setting, name: str, document: Mapping[str, object]) -> None:
    write_atomically(setting.work / name, json.dumps(document, indent=2, default=str).encode())


def _measure(rows: list[Row], setting: Setting, arguments: argparse.Namespace) -> list[Line]:
    make_original(setting)
    convert = [make for wanted, make in ((arguments.litert, make_litert), (arguments.ncnn, make_ncnn)) if wanted]
    files = _find_files(rows, setting, convert=convert)
    emulator = Emulator(setting.work / "emulator") if arguments.emulate else None
    if emulator:
        emulator.prepare()
    return measure_files(files, read_test(setting), setting=setting, emulator=emulator)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench-compiler", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".bench/compiler"), help="what is kept between runs")
    parser.add_argument("--data", type=Path, required=True, help="folder of Fashion-MNIST's four IDX files")
    parser.add_argument("--rows", default=",".join(_ORDER), help="the rows to make; (a) is always made")
    parser.add_argument("--samples", type=int, default=sys.maxsize, help="train on so many, to try it out")
    parser.add_argument("--original-epochs", type=int, default=6)
    parser.add_argument("--passes", type=int, default=240, help="the recovery budget of each row")
    parser.add_argument("--epochs", type=int, default=4, help="prune.recovery.epochs of rows (f) and (g)")
    parser.add_argument("--max-metric-drop", type=float, default=0.005, help="of row (f); a fraction")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="what trains")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="of recovery")
    parser.add_argument(
        "--shift", type=int, default=1, help="pixels that rows (f) and (g) move images by to learn more"
    )
    parser.add_argument("--jobs", type=int, default=1, help="rows in the making at a time")
    parser.add_argument("--minutes", type=float, help="give up the rows that are not done by then")
    parser.add_argument("--nncf-python", type=Path, default=Path(sys.executable), help="interpreter that has nncf")
    parser.add_argument("--litert", action="store_true", help="LiteRT variants too; needs the extra litert-convert")
    parser.add_argument("--ncnn", action="store_true", help="ncnn variants too; needs the extra ncnn-convert")
    parser.add_argument("--emulate", action="store_true", help="count instructions on an emulated Cortex-A72 too")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    return parser


def _setting(arguments: argparse.Namespace) -> Setting:
    return Setting(
        work=arguments.work.resolve(),
        data=arguments.data.resolve(),
        samples=arguments.samples,
        original_epochs=arguments.original_epochs,
        passes=arguments.passes,
        epochs=arguments.epochs,
        max_metric_drop=arguments.max_metric_drop,
        nncf_python=arguments.nncf_python,
        device=arguments.device,
        precision=arguments.precision,
        shift=arguments.shift,
    )


def _make(names: list[str], setting: Setting, arguments: argparse.Namespace, *, start_s: float) -> dict[str, str]:
    setting.save()
    make_original(setting)
    write_archives(setting)
    end_s = None if arguments.minutes is None else start_s + arguments.minutes * _SECONDS_PER_MINUTE
    threads = max(1, len(os.sched_getaffinity(0)) // arguments.jobs)
    limits = Limits(arguments.jobs, threads, end_s)
    # Everything else compares with the original.
    skipped = dict(Jobs(setting.work, [name for name in names if name == "a"], limits).run())
    return {**skipped, **Jobs(setting.work, [name for name in names if name != "a"], limits).run()}


def _find_files(
    rows: list[Row], setting: Setting, *, convert: Sequence[Callable[[str, Setting], dict[str, Path]]]
) -> list[File]:
    """Return all files but the repetition's, which is there to be compared byte by byte."""
    shown = [row for row in rows if row.name != REPETITION]
    files = [File(row, variant, path) for row in shown for variant, path in row.model_paths(setting).items()]
    for make in convert:
        made = [(row, make(row.name, setting)) for row in shown]
        files += [File(row, variant, path) for row, paths in made for variant, path in paths.items()]
    return files


if __name__ == "__main__":
    sys.exit(main())
