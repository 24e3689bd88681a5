"""Makes one row, in a process of its own: `python -m benchmarks.compiler.making WORK ROW`."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch

from benchmarks.compiler import peers
from benchmarks.compiler.product import Wish, compile_row, share_cache
from benchmarks.compiler.rows import Row, find_row, make_row
from benchmarks.compiler.setting import Setting, load_setting

TITLES = {
    "a": "original, float32",
    "b": "L1 unstructured 50 %, dynamic int8",
    "c": "ONNX Runtime static int8",
    "d": "NNCF post-training int8",
    "e": "Torch-Pruning 50 %, static int8",
    "f": "drupelet, at most {drop:.1%} lost",
    "f2": "drupelet, the same again",
    "g": "drupelet, at the best peer's top-1",
}
PEERS = ("b", "c", "d", "e")
PRODUCT = ("f", "g")
REPEATED, REPETITION = "f", "f2"
# What must be there, or given up, before a row can be made.
NEEDS = {"g": PEERS}
# How far beyond the best peer row (g) aims, on the samples that choose.
_AHEAD = 0.001
_MAKERS = {
    "a": peers.original,
    "b": peers.classic,
    "c": peers.static_int8,
    "d": peers.nncf,
    "e": peers.torch_pruning_half,
}


def main() -> None:
    """Make the row that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compiler.making", description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("row", choices=TITLES)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--max-minutes", type=float, help="of a search")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    setting = load_setting(arguments.work)
    title = TITLES[arguments.row].format(drop=setting.max_metric_drop)
    if arguments.row in _MAKERS:
        make = partial(_MAKERS[arguments.row], setting)
    else:
        wish = _wish(arguments.row, setting, max_minutes=arguments.max_minutes)
        make = partial(compile_row, setting, row=arguments.row, wish=wish)
    make_row(arguments.row, title, make, setting=setting)


def _wish(row: str, setting: Setting, *, max_minutes: float | None) -> Wish:
    if row != "g":
        drop, variants = setting.max_metric_drop, ("static", "mixed", "dynamic", "float16")
        return Wish(
            max_metric_drop=drop,
            max_step_drop=drop,
            epochs=setting.epochs,
            max_minutes=max_minutes,
            variants=variants,
        )
    share_cache(setting, source="f", row="g")
    drop = _match_best_peer(setting)
    # It stays larger than (f), and so gets fewer passes for the same number of epochs, and needs more of them to be
    # better than its teacher; with a limit this tight, int8 would mean a second training with rounding.
    return Wish(
        max_metric_drop=drop,
        max_step_drop=drop - _AHEAD,
        epochs=4 * setting.epochs,
        max_minutes=max_minutes,
        variants=("float16",),
    )


def _match_best_peer(setting: Setting) -> float:
    """What may be lost, below 0 where a peer is better than the original; seen on the selection samples, as ever."""
    original = find_row("a", setting=setting)
    found = [find_row(name, setting=setting) for name in PEERS]
    made = [row for row in found if row is not None]
    if original is None or not made:
        raise SystemExit("row g needs row a and one of the peers' rows: there is none")
    return round(original.selection_metric - max(_selected(row) for row in made), 9)


def _selected(row: Row) -> float:
    return row.selection_metric


if __name__ == "__main__":
    main()
