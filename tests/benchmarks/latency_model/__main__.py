"""Checks the timing model of the Cortex-A72 against published times, and makes the latency table with it; resumable.

    python -m benchmarks.latency_model published --data ../shared/data/pi4
    python -m benchmarks.latency_model published-litert --data ../shared/data/pi4
    python -m benchmarks.latency_model table

Both comparisons print JSON, and a table on standard error. `published`, which is of ncnn, ends with 1 where the mean
absolute error of the scaled estimates is above 8 %; the threads of LiteRT's published times are not known.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from importlib import metadata
from pathlib import Path

from benchmarks.instructions.emulator import FOLDER, ROOT, EmulatedPi
from benchmarks.latency_model.collecting import collect, read_records
from benchmarks.latency_model.fitting import make_table, read_accuracy, write_table
from benchmarks.latency_model.probes import FIRST_LARGE_STEM, FIRST_SMALL, FIRST_STEM
from benchmarks.latency_model.published import Comparison, compare
from benchmarks.latency_model.published_litert import compare_litert, format_summary
from benchmarks.latency_model.report import format_report, make_report

_TABLE = ROOT / "host/drupelet_host/latency/modelled/raspberry_pi_4.json"
_WORK = ROOT / ".bench/latency-model"
_DISTRIBUTIONS = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert", "ncnn": "ncnn"}
_PROBES, _SMALL_PROBES, _STEM_PROBES, _LARGE_STEM_PROBES = 40, 48, 32, 12
# Changing it changes every probe: records of another value must not be mixed in.
_MACS = 15e6


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(prog="latency_model", description=__doc__.partition("\n")[0])
    parser.add_argument("--emulator", type=Path, default=FOLDER, metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--work", type=Path, default=_WORK, metavar="FOLDER", help="results; default: %(default)s")
    commands = parser.add_subparsers(dest="command", required=True)
    published = commands.add_parser("published", help="compare with published times")
    published.add_argument("--data", type=Path, required=True, help="published.csv and ncnn-params")
    published.add_argument("--only", nargs="*", default=[], metavar="NETWORK", help="default: all")
    published.add_argument("--parameter", nargs="*", default=[], metavar="NAME=VALUE", help="of the timing model")
    litert = commands.add_parser("published-litert", help="compare with published times of LiteRT")
    litert.add_argument("--data", type=Path, required=True, help="published.csv")
    litert.add_argument("--parameter", nargs="*", default=[], metavar="NAME=VALUE", help="of the timing model")
    table = commands.add_parser("table", help="make the latency table")
    table.add_argument(
        "--probes", type=int, default=_PROBES, help="networks of the usual sizes to measure (default: %(default)s)"
    )
    table.add_argument(
        "--small-probes",
        type=int,
        default=_SMALL_PROBES,
        help="networks with maps of few pixels (default: %(default)s)",
    )
    table.add_argument(
        "--stem-probes", type=int, default=_STEM_PROBES, help="first layers on images (default: %(default)s)"
    )
    table.add_argument(
        "--large-stem-probes", type=int, default=_LARGE_STEM_PROBES, help="large ones (default: %(default)s)"
    )
    table.add_argument("--jobs", type=int, default=2, help="at the same time (default: %(default)s)")
    table.add_argument("--fit-only", action="store_true", help="fit what has been measured")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    arguments.work.mkdir(parents=True, exist_ok=True)
    pi = EmulatedPi(folder=arguments.emulator.resolve())
    if arguments.command == "published":
        comparisons = compare(
            arguments.data, work=arguments.work, pi=pi, parameters=arguments.parameter, only=arguments.only
        )
        sys.exit(_report(comparisons))
    if arguments.command == "published-litert":
        document = compare_litert(arguments.data, work=arguments.work, pi=pi, parameters=arguments.parameter)
        print(json.dumps(document, indent=2))
        print(format_summary(document), file=sys.stderr)
        return
    records = arguments.work / "records.jsonl"
    if not arguments.fit_only:
        seeds = [
            *range(FIRST_STEM, FIRST_STEM + arguments.stem_probes),
            *range(FIRST_LARGE_STEM, FIRST_LARGE_STEM + arguments.large_stem_probes),
            *range(FIRST_SMALL, FIRST_SMALL + arguments.small_probes),
            *range(arguments.probes),
        ]
        collect(seeds, records, macs=_MACS, pi=pi, jobs=arguments.jobs)
    _make_table(records)


def _report(comparisons: list[Comparison]) -> int:
    report = make_report(comparisons, scale=read_accuracy()["scale"])
    print(json.dumps(report, indent=2))
    print(format_report(report), file=sys.stderr)
    return int(not report["met"])


def _make_table(path: Path) -> None:
    versions = {engine: metadata.version(name) for engine, name in _DISTRIBUTIONS.items()}
    table, errors = make_table(read_records(path), macs=_MACS, versions=versions)
    write_table(table, _TABLE)
    print(f"{_TABLE.relative_to(ROOT)}: {_TABLE.stat().st_size} bytes; on probes that it was not fitted to:")
    for (engine, precision), held_out in errors.items():
        worst = max(map(abs, held_out.network_errors))
        print(
            f"{engine:<12}{precision:<9}{len(held_out.network_errors):>4} networks: mean {held_out.network_error:.1%}, "
            f"worst {worst:.1%}; a layer, median: {held_out.layer_error:.1%}"
        )


if __name__ == "__main__":
    main()
