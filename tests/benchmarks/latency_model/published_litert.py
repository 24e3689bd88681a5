"""Compares the timing model with published LiteRT times of a Raspberry Pi 4, whose threads are not known.

The estimates are of one thread, so that each source gets one factor of its own; what is left is how well the model
tells networks, input sizes and precisions apart.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.instructions.emulator import EmulatedPi
from benchmarks.latency_model import known_networks
from benchmarks.latency_model.measuring import run_guest
from benchmarks.latency_model.networks import Network
from benchmarks.latency_model.published import Comparison, best_scale
from benchmarks.latency_model.report import describe_agreement
from benchmarks.latency_model.write_tflite import write_tflite
from benchmarks.machine import read_emulator, read_machine
from drupelet_host.latency.modelled.exact import CLOCK_HZ

_MS = 1000
_BOARD = "Raspberry Pi 4 B"
# The runtime as published.csv has it, and the sizes of inputs that are run.
_SOURCES: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "yolobench": ("TFLite (XNNPACK)", (160, 192, 224)),
    "xnnpack": ("XNNPACK", (224,)),
}
_BUILDERS: Mapping[str, Callable[[int], Network]] = {
    "yolo5n": known_networks.yolov5n,
    "yolo8n": known_networks.yolov8n,
    "yolo6s-d33w25": partial(known_networks.yolov6, depth=0.33, width=0.25),
    "yolo7n": partial(known_networks.yolov7, width=0.25),
    "mobilenet_v1": known_networks.mobilenet_v1,
    "mobilenet_v2": known_networks.mobilenet_v2,
    "mobilenet_v3_small": known_networks.mobilenet_v3_small,
    "mobilenet_v3_large": known_networks.mobilenet_v3_large,
}


@dataclass(frozen=True, slots=True)
class Known:
    """A network with a published time.

    Attributes:
        source: Who published it.
        network: Its name in published.csv.
        side: Of its input.
        int8: In static int8 instead of float32.
        published_ms: At an unknown number of threads.
    """

    source: str
    network: str
    side: int
    int8: bool
    published_ms: float

    @property
    def name(self) -> str:
        """What its result is kept under; `int8_ratios` finds pairs by it."""
        return f"{self.network}-{self.side}{'_int8' if self.int8 else ''}"


def read_known(data: Path) -> list[Known]:
    """Return the published times of the networks that are written here, the smallest first.

    Args:
        data: The folder with published.csv.
    """
    with (data / "published.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["board"] == _BOARD and row["network"] in _BUILDERS]
    found = [
        Known(source, row["network"], int(row["input"]), row["precision"] == "int8", float(row["ms"]))
        for source, (runtime, sides) in _SOURCES.items()
        for row in rows
        if row["runtime"] == runtime and row["input"] and int(row["input"]) in sides
    ]
    return sorted(found, key=lambda known: known.published_ms)


def compare_litert(data: Path, *, work: Path, pi: EmulatedPi, parameters: Sequence[str] = ()) -> dict[str, Any]:
    """Run every network that has not been run, and return the document.

    Args:
        data: The folder with published.csv.
        work: Where the results are kept.
        pi: The machine.
        parameters: Of the timing model, in place of those of its file; they have results of their own.
    """
    known = read_known(data)
    path = work / f"published-litert{''.join(f'-{parameter}' for parameter in parameters)}.json"
    done: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for one in known:
        if one.name not in done:
            done[one.name] = _run(one, pi, parameters)
            path.write_text(json.dumps(done, indent=2), encoding="utf-8")
            print(f"{one.name}: {done[one.name]:.1f} ms, published {one.published_ms:.1f} ms", file=sys.stderr)
    return {
        "what": "modelled: LiteRT networks in the timing model of the Cortex-A72 at one thread, beside published times "
        "whose threads are not known; each source has one factor of its own",
        "machine": read_machine(),
        "emulator": read_emulator(),
        "parameters": list(parameters),
        "sources": {
            source: summarize(
                [Comparison(one.name, one.published_ms, done[one.name]) for one in known if one.source == source]
            )
            for source in _SOURCES
        },
    }


def _run(known: Known, pi: EmulatedPi, parameters: Sequence[str]) -> float:
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        path = Path(folder) / f"{known.name}.tflite"
        network = _BUILDERS[known.network](known.side)
        write_tflite(network, path, int8=known.int8)
        (run,) = run_guest([(path, network.shape)], "litert", how="whole", pi=pi, parameters=parameters)
    return run.events[-1]["cycles"] / CLOCK_HZ * _MS


def summarize(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return the errors of a source with the one factor that suits it best.

    Args:
        comparisons: Its networks, at least two.
    """
    factor = best_scale(comparisons)
    return {
        "factor": round(factor, 3),
        **describe_agreement(comparisons, scale=factor),
        "networks": [
            {
                "network": one.network,
                "published_ms": one.published_ms,
                "modelled_ms": round(one.modelled_ms, 2),
                "error": round(one.error(factor), 4),
            }
            for one in comparisons
        ],
    }


def format_summary(document: Mapping[str, Any]) -> str:
    """Return the table for people.

    Args:
        document: From `compare_litert`.
    """
    lines = []
    for source, found in document["sources"].items():
        lines.append(f"{source}: estimates of one thread times {found['factor']}")
        for one in found["networks"]:
            times = f"{one['modelled_ms'] * found['factor']:>10.1f}{one['published_ms']:>11.1f}"
            lines.append(f"  {one['network']:<26}{times}{one['error']:>8.1%}")
        for network, ratio in found["int8_to_float32"].items():
            lines.append(
                f"  {network:<26} int8 / float32: published {ratio['published']}, modelled {ratio['modelled']}"
            )
        pairs = found["pairs"]
        lines.append(
            f"  mean absolute error {found['mean_error']:.1%}, worst {found['worst_error']:.1%}; rank correlation "
            f"{found['rank_correlation']}; {pairs['in_order']} of {pairs['all']} pairs in order"
        )
    return "\n".join(lines)
