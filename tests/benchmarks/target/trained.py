"""ResNet18 on Fashion-MNIST, trained here and compiled for the latency on the target, beside the best unpruned network.

The search saves modelled milliseconds until the whole range of the estimate is within the limit. Times are of the
timing model, of the very files whose accuracy is stated.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.compiler import peers
from benchmarks.compiler.litert import make_litert
from benchmarks.compiler.network import make_original
from benchmarks.compiler.product import Wish, compile_row, share_cache
from benchmarks.compiler.rows import Made, Row, find_row, make_row
from benchmarks.compiler.samples import read_test
from benchmarks.compiler.setting import Setting
from benchmarks.instructions.emulator import FOLDER
from benchmarks.target.timed_files import time_file
from drupelet_host.data.dataset import Dataset
from drupelet_host.latency.engines import engine_of
from drupelet_host.latency.modelled.layers import EngineName, Precision
from drupelet_host.latency.modelled.table import LatencyTable
from drupelet_shared.engines.files import model_size_bytes

_ORIGINAL, _QUANTIZED, _PRODUCTS = "a", "c", ("f", "g")
# What may be lost of the test images; a search is flattered by the samples that it chooses on, and aims at less.
_MAX_METRIC_DROP, _AIMED_DROP = 0.005, 0.004
_ORIGINAL_EPOCHS, _SHIFT = 6, 1
_VARIANTS = ("static", "mixed", "float16")
# Half of the default: the original runs over all images for each view.
_VIEWS = 4
# Each engine with the module that its files are made with.
_CONVERTERS: Mapping[EngineName, str] = {"onnxruntime": "onnx", "litert": "litert_torch", "ncnn": "pnnx"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedFile:
    """A file with its accuracy and its time.

    Attributes:
        row: Its letter in `bench-compiler`.
        variant: Its name there.
        engine: What runs it.
        ms: By the timing model, scaled.
        error: How far that may be off, as a fraction.
        top1: On the 10,000 test images, in this engine.
        bytes: Its size.
    """

    row: str
    variant: str
    engine: EngineName
    ms: float
    error: float
    top1: float
    bytes: int


def compile_for_target(
    table: LatencyTable,
    work: Path,
    data: Path,
    *,
    epochs: int,
    max_passes: int,
    max_latencies: Sequence[str],
    emulator: Path = FOLDER,
) -> dict[str, object]:
    """Train, compile and time; what is finished is kept.

    Args:
        table: The target's table.
        work: Where everything is kept.
        data: The folder of Fashion-MNIST's four IDX files.
        epochs: The recipe's `prune.recovery.epochs`.
        max_passes: The recipe's `prune.max_passes`.
        max_latencies: The recipe's `constraints.max_latency` of rows (f) and (g), one or two.
        emulator: What `deploy/emulator/prepare` made.

    Returns:
        The files' numbers, and how much faster the product's fastest ones are.
    """
    setting = Setting(
        work=work / "trained",
        data=data,
        samples=sys.maxsize,
        original_epochs=_ORIGINAL_EPOCHS,
        passes=max_passes,
        epochs=epochs,
        max_metric_drop=_AIMED_DROP,
        nncf_python=Path(sys.executable),
        shift=_SHIFT,
    )
    setting.work.mkdir(parents=True, exist_ok=True)
    setting.save()
    make_original(setting)
    peer = _make_peer(setting)
    products = [_make_product(setting, row, limit) for row, limit in zip(_PRODUCTS, max_latencies, strict=False)]
    test = read_test(setting)
    files = _list_files((peer, *products), setting)
    timed = [_time(*file, test=test, table=table, emulator=emulator) for file in files]
    return {
        "what": "files that were trained here, in the timing model of the Cortex-A72",
        "setting": {
            "original_epochs": _ORIGINAL_EPOCHS,
            "recovery_epochs": epochs,
            "max_passes": max_passes,
            "max_metric_drop": _AIMED_DROP,
        },
        "compiles": [
            {
                "row": product.name,
                "max_latency": limit,
                "passes": product.passes,
                "minutes": round(product.wall_minutes, 1),
                "channels": product.notes["channels"],
                "candidates": product.notes["candidates"],
            }
            for product, limit in zip(products, max_latencies, strict=False)
        ],
        "files": [asdict(one) for one in timed],
        "comparisons": compare(timed),
    }


def compare(files: Sequence[TrainedFile]) -> dict[str, object]:
    """Return how much faster the product is than the unpruned networks, each in its fastest engine and precision.

    Args:
        files: Of all rows.
    """
    original = next(file for file in files if (file.row, file.engine) == (_ORIGINAL, "onnxruntime"))
    peer = min((file for file in files if file.row in {_ORIGINAL, _QUANTIZED}), key=lambda file: file.ms)
    product = _find_fastest(files, least_top1=original.top1 - _MAX_METRIC_DROP)
    compared: dict[str, object] = {"best_peer": asdict(peer), "product": product and asdict(product)}
    if product:
        compared["times_faster_than_best_unpruned_peer"] = round(peer.ms / product.ms, 2)
        compared["times_faster_than_float_in_onnxruntime"] = round(original.ms / product.ms, 2)
    if equal := _find_fastest(files, least_top1=peer.top1):
        compared["times_faster_at_best_peers_accuracy"] = round(peer.ms / equal.ms, 2)
    return compared


def _find_fastest(files: Sequence[TrainedFile], *, least_top1: float) -> TrainedFile | None:
    """Return the fastest of the product's files that are accurate enough."""
    accurate = (file for file in files if file.row in _PRODUCTS and file.top1 >= least_top1)
    return min(accurate, key=lambda file: file.ms, default=None)


def _list_engines() -> tuple[EngineName, ...]:
    """Return the engines whose converters are installed here."""
    return tuple(engine for engine, module in _CONVERTERS.items() if find_spec(module))


def _make_peer(setting: Setting) -> Row:
    return find_row(_QUANTIZED, setting=setting) or make_row(
        _QUANTIZED, "ONNX Runtime static int8", lambda: peers.static_int8(setting), setting=setting
    )


def _make_product(setting: Setting, row: str, max_latency: str) -> Row:
    wish = Wish(
        max_metric_drop=setting.max_metric_drop,
        max_step_drop=setting.max_metric_drop,
        epochs=setting.epochs,
        max_minutes=None,
        variants=_VARIANTS,
        engines=_list_engines(),
        views=_VIEWS,
        max_latency=max_latency,
    )
    return find_row(row, setting=setting) or make_row(
        row, "drupelet, by the target's latency", lambda: _compile(setting, row, wish), setting=setting
    )


def _compile(setting: Setting, row: str, wish: Wish) -> Made:
    if row != _PRODUCTS[0]:
        share_cache(setting, source=_PRODUCTS[0], row=row)
    return compile_row(setting, row=row, wish=wish)


def _list_files(rows: Sequence[Row], setting: Setting) -> Iterator[tuple[str, str, Path]]:
    """Yield the row, the variant and the path of every file; the original and its int8 in LiteRT too."""
    yield _ORIGINAL, "onnxruntime", setting.original
    for row in rows:
        for variant, path in row.model_paths(setting).items():
            yield row.name, variant, path
    if "litert" in _list_engines():
        for name in (_ORIGINAL, _QUANTIZED):
            for variant, path in make_litert(name, setting).items():
                yield name, variant, path


def _time(row: str, variant: str, path: Path, *, test: Dataset, table: LatencyTable, emulator: Path) -> TrainedFile:
    engine = engine_of(path)
    precision: Precision = "int8" if row == _QUANTIZED or "i8" in variant else "float32"
    return TrainedFile(
        row=row,
        variant=variant,
        engine=engine,
        ms=round(table.scale * time_file(path, engine, emulator=emulator), 4),
        error=table.accuracies[engine, precision].model_error,
        top1=peers.score(path, test),
        bytes=model_size_bytes(path),
    )
