"""How the product's files compare with the unpruned ones, by accuracy and time."""

from __future__ import annotations

from benchmarks.target.trained import TrainedFile, compare
from drupelet_host.latency.modelled.layers import EngineName


def file(row: str, *, ms: float, top1: float, engine: EngineName = "onnxruntime") -> TrainedFile:
    return TrainedFile(row=row, variant="v", engine=engine, ms=ms, error=0.2, top1=top1, bytes=1)


PEERS = [
    file("a", ms=40.0, top1=0.93),
    file("a", ms=20.0, top1=0.93, engine="litert"),
    file("c", ms=6.0, top1=0.925, engine="litert"),
]


def test_the_fastest_file_within_the_drop_is_compared_with_the_fastest_peer() -> None:
    products = [file("f", ms=0.4, top1=0.924), file("f", ms=0.5, top1=0.925), file("f", ms=0.8, top1=0.93)]
    compared = compare([*PEERS, *products])
    assert compared["times_faster_than_best_unpruned_peer"] == 12.0
    assert compared["times_faster_than_float_in_onnxruntime"] == 80.0


def test_the_fastest_file_that_is_as_accurate_as_the_fastest_peer_is_compared_with_it() -> None:
    products = [file("f", ms=0.5, top1=0.9249), file("g", ms=1.5, top1=0.925), file("g", ms=1.6, top1=0.93)]
    assert compare([*PEERS, *products])["times_faster_at_best_peers_accuracy"] == 4.0


def test_products_that_lose_too_much_are_not_compared() -> None:
    compared = compare([*PEERS, file("f", ms=0.1, top1=0.9)])
    assert compared["product"] is None
    assert "times_faster_than_best_unpruned_peer" not in compared
