from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.compiler.measuring import THREADS, Line
from benchmarks.compiler.report import format_table, judge
from benchmarks.compiler.rows import Made, keep_row
from benchmarks.compiler.setting import Setting
from drupelet_shared.engines.timing import Timing


def line(
    row: str, *, p50_ms: float, size_bytes: int = 1_000_000, top1: float = 0.93, engine: str = "onnxruntime"
) -> Line:
    timing = Timing(p50_ms=p50_ms, p95_ms=p50_ms, p99_ms=2 * p50_ms, runs=1, mean_ms=p50_ms)
    return Line(
        row=row,
        title=f"title {row}",
        engine=engine,
        top1=top1,
        size_bytes=size_bytes,
        timings=dict.fromkeys(THREADS, timing),
        peak_memory_bytes=50_000_000,
        wall_minutes=1.5,
        cpu_minutes=2.0,
    )


def targets(*lines: Line) -> dict[str, bool]:
    return {target["name"]: target["met"] for target in judge(lines)}


def test_the_product_is_held_against_the_original() -> None:
    start = line("a", p50_ms=1.5, size_bytes=50_000_000)
    met = targets(start, line("f", p50_ms=0.1, top1=0.9251))
    assert met == dict.fromkeys(met, True)
    assert len(met) == 3
    missed = targets(start, line("f", p50_ms=0.11, size_bytes=1_100_000, top1=0.9249))
    assert missed == dict.fromkeys(met, False)


def test_the_second_product_is_held_against_the_most_accurate_peer() -> None:
    peers = (line("c", p50_ms=0.5), line("e", p50_ms=0.1, top1=0.92))
    found = targets(line("a", p50_ms=1.4), *peers, line("g", p50_ms=0.25))
    assert found == {
        "g: times faster than the best peer (c)": True,
        "g: top-1 less the best peer's (c)": True,
    }
    assert not any(targets(*peers, line("g", p50_ms=0.26, top1=0.929)).values())


def test_rows_that_were_not_made_are_not_judged() -> None:
    assert targets(line("a", p50_ms=1.0), line("c", p50_ms=0.5)) == {}


def test_the_table_has_a_line_for_each_engine_and_ratios_to_the_original() -> None:
    table = format_table(
        [line("a", p50_ms=1.0, size_bytes=10_000_000), line("f", p50_ms=0.1), line("f", p50_ms=0.2, engine="litert")]
    )
    heading, ruler, original, product, other = table.splitlines()
    assert heading.count("|") == ruler.count("|") == original.count("|") == product.count("|")
    assert "(f) title f | onnxruntime | 93.00% | 1.00 MB (-90.0%) | 0.100 / 0.200 ms" in product
    assert "10.0x" in product
    assert "litert" in other


def test_a_row_that_is_done_is_not_made_again(tmp_path: Path) -> None:
    setting = Setting(
        work=tmp_path,
        data=tmp_path,
        samples=1,
        original_epochs=1,
        max_metric_drop=0.005,
        nncf_python=Path("python"),
        engines=("onnxruntime",),
    )

    def make() -> Made:
        return Made(models={"onnxruntime": tmp_path / "model.onnx"}, selection_metric=0.9, notes={"epochs": 3})

    def fail() -> Made:
        raise AssertionError

    made = keep_row("x", "a title", make, setting=setting)
    assert keep_row("x", "another", fail, setting=setting) == made
    assert made.model_paths(setting) == {"onnxruntime": tmp_path / "model.onnx"}
    with pytest.raises(AssertionError):
        keep_row("y", "a title", fail, setting=setting)
    assert not (tmp_path / "row-y.json").exists()
