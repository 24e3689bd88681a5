"""Compares the timing model with published times of ncnn networks on a Raspberry Pi 4."""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.instructions.emulator import EmulatedPi
from benchmarks.latency_model.measuring import run_guest
from drupelet_host.latency.modelled.exact import CLOCK_HZ

# The release whose kernels the published times are of.
_NCNN = "1.0.20230517"
_MS = 1000
_BOARD, _RUNTIME, _THREADS = "Raspberry Pi 4 B", "ncnn", "1"
# The sides of the inputs that are not 224 x 224, from ncnn's benchmark.
_SIZES = {
    "squeezenet": 227,
    "squeezenet_int8": 227,
    "blazeface": 128,
    "alexnet": 227,
    "squeezenet_ssd": 300,
    "squeezenet_ssd_int8": 300,
    "mobilenet_ssd": 300,
    "mobilenet_ssd_int8": 300,
    "mobilenet_yolo": 416,
    "mobilenetv2_yolov3": 352,
    "nanodet_m": 320,
    "vision_transformer": 384,
    "FastestDet": 352,
    "yolov4-tiny": 416,
    "yolo-fastest-1.1": 320,
    "yolo-fastestv2": 352,
}
# Published elsewhere with other graphs, or half an hour under the emulator.
_LEFT_OUT = {"vision_transformer", "mobilenet_yolo"}
_TOLD_APART = 1.1


@dataclass(frozen=True, slots=True)
class Comparison:
    """One network.

    Attributes:
        network: Its name.
        published_ms: One thread on a board.
        modelled_ms: By the timing model, unscaled.
    """

    network: str
    published_ms: float
    modelled_ms: float

    def error(self, scale: float) -> float:
        """Return the signed error of the scaled estimate, as a fraction of the published time."""
        return self.modelled_ms * scale / self.published_ms - 1


def read_published(data: Path) -> dict[str, float]:
    """Return the published one-thread milliseconds of the networks whose graphs are in the data folder."""
    with (data / "published.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["board"], row["runtime"]) == (_BOARD, _RUNTIME)]
    return {
        row["network"]: float(row["ms"])
        for row in rows
        if row["threads"] == _THREADS
        and row["network"] not in _LEFT_OUT
        and (data / "ncnn-params" / f"{row['network']}.param").is_file()
    }


def compare(
    data: Path, *, work: Path, pi: EmulatedPi, parameters: Sequence[str] = (), only: Iterable[str] = ()
) -> list[Comparison]:
    """Run every network that has not been run, smallest first.

    Args:
        data: The folder with published.csv and ncnn-params.
        work: Where ncnn's wheel and the results are kept.
        pi: The machine.
        parameters: Of the timing model, in place of those of its file; they have results of their own.
        only: Names of networks; all where there is none.
    """
    published = read_published(data)
    wanted = set(only) or set(published)
    path = work / f"published{''.join(f'-{parameter}' for parameter in parameters)}.jsonl"
    done = _read(path)
    packages = _ncnn(work)
    for name in sorted(published, key=published.__getitem__):
        if name in wanted and name not in done:
            size = _SIZES.get(name, 224)
            models = [(data / "ncnn-params" / f"{name}.param", (3, size, size))]
            (run,) = run_guest(models, "ncnn", how="whole", pi=pi, packages=packages, parameters=parameters)
            done[name] = run.events[-1]["cycles"] / CLOCK_HZ * _MS
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"network": name, "ms": done[name]}) + "\n")
            print(f"{name}: {done[name]:.1f} ms, published {published[name]:.1f} ms", file=sys.stderr)
    return [Comparison(name, published[name], ms) for name, ms in done.items() if name in wanted and name in published]


def _read(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {line["network"]: line["ms"] for line in lines}


def _ncnn(work: Path) -> Path:
    """A folder with that release's aarch64 wheel unpacked."""
    target = work / f"ncnn-{_NCNN}"
    if not (target / "ncnn").is_dir():
        platforms = [f"manylinux_2_{minor}_aarch64" for minor in (36, 34, 31, 28, 27, 24, 17)]
        options = [word for platform in (*platforms, "manylinux2014_aarch64") for word in ("--platform", platform)]
        options += ["--python-version", "3.11", "--implementation", "cp", "--only-binary=:all:"]
        command = [sys.executable, "-m", "pip", "--quiet", "install", "--no-deps", "--target", str(target), *options]
        subprocess.run([*command, f"ncnn=={_NCNN}"], check=True, stdout=sys.stderr)
    return target


def best_scale(comparisons: Sequence[Comparison]) -> float:
    """Return the factor on the estimates with the least mean absolute logarithmic error."""
    return float(np.median([one.published_ms / one.modelled_ms for one in comparisons]))


def pairs_in_order(comparisons: Sequence[Comparison]) -> tuple[int, int]:
    """Return how many pairs whose times differ by a tenth the model puts in order, and how many there are."""
    pairs = [
        (one, two) if one.published_ms < two.published_ms else (two, one)
        for one, two in itertools.combinations(comparisons, 2)
    ]
    apart = [(fast, slow) for fast, slow in pairs if slow.published_ms > _TOLD_APART * fast.published_ms]
    return sum(fast.modelled_ms < slow.modelled_ms for fast, slow in apart), len(apart)


def rank_correlation(comparisons: Sequence[Comparison]) -> float:
    """Return Spearman's coefficient."""
    columns = zip(*((one.published_ms, one.modelled_ms) for one in comparisons), strict=True)
    ranks = [np.argsort(np.argsort(column)) for column in columns]
    return float(np.corrcoef(*ranks)[0, 1])


def int8_ratios(comparisons: Sequence[Comparison]) -> Mapping[str, tuple[float, float]]:
    """Return int8 divided by float32 of each network that has both: published, modelled."""
    by_name = {one.network: one for one in comparisons}
    return {
        name.removesuffix("_int8"): (one.published_ms / whole.published_ms, one.modelled_ms / whole.modelled_ms)
        for name, one in by_name.items()
        if name.endswith("_int8") and (whole := by_name.get(name.removesuffix("_int8")))
    }
