"""Measures the layers of many networks under the timing model, into a file that a later run continues."""

from __future__ import annotations

import itertools
import json
import logging
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

from benchmarks.instructions.emulator import EmulatedPi
from benchmarks.latency_model.measuring import ENGINES, Measured, measure_layers
from benchmarks.latency_model.probes import probe
from drupelet_host.latency.modelled.layers import EngineName

log = logging.getLogger(__name__)

# Starting an emulated Python takes as long as several small networks do.
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Record:
    """What one probe took.

    Attributes:
        seed: The probe's number.
        engine: What ran it.
        int8: In static int8 instead of float32.
        measured: Cycles; None where its layers could not be told apart, or the engine cannot run it.
    """

    seed: int
    engine: EngineName
    int8: bool
    measured: Measured | None


def read_records(path: Path) -> list[Record]:
    """Return what has been measured; nothing where there is no file."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        found = values["measured"]
        measured = None if found is None else Measured(found["cycles"], tuple(found["layers"]), found["rest"])
        records.append(Record(values["seed"], values["engine"], values["int8"], measured))
    return records


def collect(seeds: Sequence[int], path: Path, *, macs: float, pi: EmulatedPi, jobs: int = 1) -> None:
    """Measure probes in every engine and precision; what the file has already is kept.

    Args:
        seeds: Numbers of probes.
        path: Where the records are appended, one a line.
        macs: About how many multiply-accumulates a probe has.
        pi: The machine.
        jobs: How many run at the same time.
    """
    done = {(record.seed, record.engine, record.int8) for record in read_records(path)}
    lock = Lock()

    def work(batch: tuple[tuple[int, ...], EngineName, bool]) -> None:
        numbers, engine, int8 = batch
        missing = [seed for seed in numbers if (seed, engine, int8) not in done]
        if missing:
            records = _measure(missing, engine, int8=int8, macs=macs, pi=pi)
            with lock, path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(asdict(record)) + "\n" for record in records)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(work, _batches(seeds)))


def _batches(seeds: Sequence[int]) -> Iterator[tuple[tuple[int, ...], EngineName, bool]]:
    """All engines for some seeds before the next seeds, so that a run that ends early has a bit of everything."""
    for start in range(0, len(seeds), _BATCH):
        for engine, int8 in itertools.product(ENGINES, (False, True)):
            yield tuple(seeds[start : start + _BATCH]), engine, int8


def _measure(seeds: Sequence[int], engine: EngineName, *, int8: bool, macs: float, pi: EmulatedPi) -> list[Record]:
    networks = [probe(seed, macs=macs) for seed in seeds]
    try:
        results = measure_layers(networks, engine, int8=int8, pi=pi)
    except subprocess.CalledProcessError as error:
        if len(seeds) > 1:
            # One that an engine cannot load must not take the others with it.
            return [record for seed in seeds for record in _measure([seed], engine, int8=int8, macs=macs, pi=pi)]
        log.warning("a probe failed: seed=%d engine=%s int8=%s error=%s", seeds[0], engine, int8, error.__notes__)
        return [Record(seeds[0], engine, int8, None)]
    records = []
    for seed, result in zip(seeds, results, strict=True):
        if not isinstance(result, Measured):
            log.warning("a probe is left out: seed=%d engine=%s int8=%s reason=%s", seed, engine, int8, result)
        records.append(Record(seed, engine, int8, result if isinstance(result, Measured) else None))
    return records
