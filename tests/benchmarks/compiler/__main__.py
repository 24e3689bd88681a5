"""Compiles one ResNet18 with several tools and measures the results side by side; JSON and a Markdown table.

A row that is done is kept in the work folder: a run that was ended goes on, and removing `row-X.json` redoes row X. The
peers fine-tune for as much processor time as row (f) took from beginning to end, with the compiler's training loop on
the labels. Times are this machine's and no device's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch

from benchmarks.compiler import peers
from benchmarks.compiler.emulated import Emulator
from benchmarks.compiler.measuring import measure_rows
from benchmarks.compiler.network import make_original
from benchmarks.compiler.product import compile_row
from benchmarks.compiler.report import format_table, make_report
from benchmarks.compiler.rows import Made, Row, keep_row
from benchmarks.compiler.samples import read_test
from benchmarks.compiler.setting import Setting
from benchmarks.machine import read_machine
from drupelet_shared.files import write_atomically

_ROWS = "abcdefg"
_EXIT_MISSED = 1


def main() -> int:
    """Make the rows, measure them, print both forms; with `--check`, 1 if a target was missed."""
    arguments = _parser().parse_args()
    setting = Setting(
        work=arguments.work.resolve(),
        data=arguments.data.resolve(),
        samples=arguments.samples,
        original_epochs=arguments.original_epochs,
        max_metric_drop=arguments.max_metric_drop,
        nncf_python=arguments.nncf_python,
        engines=("onnxruntime", "litert") if arguments.litert else ("onnxruntime",),
    )
    setting.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    machine = read_machine()
    make_original(setting)
    skipped: dict[str, str] = {}
    rows = _make_rows(setting, arguments.rows, skipped)
    emulator = Emulator(setting.work / "emulator") if arguments.emulate else None
    if emulator:
        emulator.prepare()
    lines = measure_rows(rows, read_test(setting), setting=setting, emulator=emulator)
    report = make_report(rows, lines, machine=machine, skipped=skipped)
    table = format_table(lines)
    write_atomically(setting.work / "report.json", json.dumps(report, indent=2).encode())
    write_atomically(setting.work / "report.md", f"{table}\n".encode())
    print(json.dumps(report, indent=2))
    print(table, file=sys.stderr)
    return _EXIT_MISSED if arguments.check and not all(target["met"] for target in report["targets"]) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench-compiler", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".bench/compiler"), help="what is kept between runs")
    parser.add_argument("--data", type=Path, required=True, help="folder of Fashion-MNIST's four IDX files")
    parser.add_argument("--rows", default=_ROWS, help="letters of the rows to make; (a) and (f) are always made")
    parser.add_argument("--samples", type=int, default=sys.maxsize, help="train on so many, to try it out")
    parser.add_argument("--original-epochs", type=int, default=6)
    parser.add_argument("--max-metric-drop", type=float, default=0.005, help="of row (f); a fraction")
    parser.add_argument("--threads", type=int, default=2, help="for training")
    parser.add_argument("--nncf-python", type=Path, default=Path(sys.executable), help="interpreter that has nncf")
    parser.add_argument("--litert", action="store_true", help="LiteRT variants too; needs the extra litert-convert")
    parser.add_argument("--emulate", action="store_true", help="count instructions on an emulated Cortex-A72 too")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    return parser


def _make_rows(setting: Setting, wanted: str, skipped: dict[str, str]) -> list[Row]:
    keep = partial(keep_row, setting=setting)
    rows = {"a": keep("a", "original, float32", partial(peers.original, setting))}
    compiled = partial(compile_row, setting, row="f", max_metric_drop=setting.max_metric_drop)
    rows["f"] = keep("f", f"drupelet, at most {setting.max_metric_drop:.1%} lost", compiled)
    budget = rows["f"].cpu_minutes
    makers = {
        "b": ("L1 unstructured 50 %, dynamic int8", partial(peers.classic, setting, cpu_minutes=budget)),
        "c": ("ONNX Runtime static int8", partial(peers.static_int8, setting)),
        "d": ("NNCF post-training int8", partial(peers.nncf, setting)),
        "e": ("Torch-Pruning 50 %, static int8", partial(peers.torch_pruning_half, setting, cpu_minutes=budget)),
    }
    for name, (title, make) in makers.items():
        if name in wanted:
            try:
                rows[name] = keep(name, title, make)
            except subprocess.CalledProcessError as error:
                skipped[name] = f"ended with status {error.returncode}"
    if "g" in wanted and rows.keys() & makers.keys():
        rows["g"] = keep("g", "drupelet, at the best peer's top-1", partial(_match_best_peer, setting, rows))
    return [rows[name] for name in sorted(rows)]


def _match_best_peer(setting: Setting, rows: dict[str, Row]) -> Made:
    """Chosen on the selection samples, as every other choice."""
    best = max((row for name, row in rows.items() if name not in {"a", "f"}), key=lambda row: row.selection_metric)
    lost = max(0.0, round(rows["a"].selection_metric - best.selection_metric, 9))
    return compile_row(setting, row="g", max_metric_drop=lost)


if __name__ == "__main__":
    sys.exit(main())
