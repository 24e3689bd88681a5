from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.compiler.jobs import Jobs, Limits
from benchmarks.compiler.measuring import THREADS, Line
from benchmarks.compiler.report import best_lines, compare_bytes, format_table, judge
from benchmarks.compiler.rows import Made, Row, find_row, make_row
from benchmarks.compiler.setting import Setting, load_setting
from drupelet_shared.timing import Timing


def line(
    row: str,
    *,
    p50_ms: float,
    size_bytes: int = 1_000_000,
    top1: float = 0.93,
    engine: str = "onnxruntime",
    variant: str = "ort-fp32",
) -> Line:
    timing = Timing(p50_ms=p50_ms, p95_ms=p50_ms, p99_ms=2 * p50_ms, runs=1, mean_ms=p50_ms)
    return Line(
        row=row,
        title=f"title {row}",
        variant=variant,
        engine=engine,
        machine="a machine",
        digest=f"digest of {row} {variant}",
        top1=top1,
        size_bytes=size_bytes,
        timings=dict.fromkeys(THREADS, timing),
        peak_memory_bytes=50_000_000,
        wall_minutes=1.5,
    )


def row(name: str, *, digests: Mapping[str, str]) -> Row:
    return Row(
        name=name,
        title=name,
        models={},
        digests={},
        selection_metric=0.9,
        passes=1,
        wall_minutes=1.0,
        cpu_minutes=1.0,
        machine="a machine",
        notes={"digests": digests},
    )


def targets(*lines: Line) -> dict[str, bool]:
    return {target["name"]: target["met"] for target in judge(lines)}


def test_the_product_may_lose_as_little_in_each_other_engine() -> None:
    lines = [
        line(row, p50_ms=1.0, engine=engine, top1=top1)
        for engine, row, top1 in (
            ("litert", "a", 0.93),
            ("litert", "f", 0.926),
            ("ncnn", "a", 0.93),
            ("ncnn", "f", 0.924),
        )
    ]
    assert targets(*lines) == {
        "f in litert: top-1 less the original's": True,
        "f in ncnn: top-1 less the original's": False,
    }


def test_the_product_is_held_against_the_original() -> None:
    start = line("a", p50_ms=1.5, size_bytes=50_000_000)
    met = targets(start, line("f", p50_ms=0.1, top1=0.9251))
    assert met == dict.fromkeys(met, True)
    assert len(met) == 6
    missed = targets(start, line("f", p50_ms=0.11, size_bytes=1_100_000, top1=0.9249))
    assert [name for name, reached in missed.items() if reached] == [name for name in met if "published" in name]
    claim = targets(start, line("f", p50_ms=0.66, size_bytes=21_000_000, top1=0.91))
    assert not any(claim.values())


def test_of_a_rows_files_the_fastest_counts() -> None:
    slow, fast = line("f", p50_ms=0.2), line("f", p50_ms=0.1, variant="ort-static-wi8-ai8")
    assert best_lines([slow, fast, line("f", p50_ms=0.05, engine="litert")], engine="onnxruntime") == {"f": fast}


def test_two_runs_are_compared_variant_by_variant() -> None:
    first = row("f", digests={"ort-fp32": "1", "ort-mixed-wi8-ai8": "2"})
    again = row("f2", digests={"ort-fp32": "1", "ort-mixed-wi8-ai8": "3"})
    assert compare_bytes([first, again, row("g", digests={})]) == {"ort-fp32": True, "ort-mixed-wi8-ai8": False}
    assert compare_bytes([first]) == {}


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


def test_the_table_has_a_line_for_each_file_and_ratios_to_the_original_in_the_same_engine() -> None:
    table = format_table(
        [
            line("a", p50_ms=1.0, size_bytes=10_000_000),
            line("f", p50_ms=0.1, size_bytes=66_000),
            line("a", p50_ms=4.0, engine="litert", variant="litert-fp32"),
            line("f", p50_ms=0.2, engine="litert", variant="litert-fp32"),
        ]
    )
    heading, ruler, original, product, _, other = table.splitlines()
    assert heading.count("|") == ruler.count("|") == original.count("|") == product.count("|")
    assert "(f) title f | ort-fp32 | 93.00% | 66 KB (-99.3%) | 0.100 / 0.200 ms" in product
    assert "10.0x" in product
    assert "20.0x" in other


def setting(work: Path) -> Setting:
    return Setting(
        work=work,
        data=work,
        samples=1,
        original_epochs=1,
        passes=8,
        epochs=1,
        max_metric_drop=0.005,
        nncf_python=Path("python"),
        device="cpu",
    )


def test_a_setting_is_read_back_as_it_was(tmp_path: Path) -> None:
    setting(tmp_path).save()
    assert load_setting(tmp_path) == setting(tmp_path)


def test_a_row_that_is_made_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"a model")

    def make() -> Made:
        return Made(models={"ort-fp32": tmp_path / "model.onnx"}, selection_metric=0.9, passes=3)

    assert find_row("x", setting=setting(tmp_path)) is None
    made = make_row("x", "a title", make, setting=setting(tmp_path))
    assert find_row("x", setting=setting(tmp_path)) == made
    assert made.model_paths(setting(tmp_path)) == {"ort-fp32": tmp_path / "model.onnx"}
    assert made.machine.endswith("training on cpu")


@pytest.mark.slow
def test_a_row_that_fails_is_skipped_and_the_one_that_waits_for_it_is_still_tried(tmp_path: Path) -> None:
    # There is no setting in the folder: every row ends with an error.
    skipped = Jobs(tmp_path, ["g", "b"], Limits(jobs=2, threads=1, end_s=None)).run()
    assert list(skipped.items()) == [("b", "ended with status 1"), ("g", "ended with status 1")]


def test_rows_that_are_not_done_in_time_are_given_up(tmp_path: Path) -> None:
    setting(tmp_path).save()
    skipped = Jobs(tmp_path, ["f", "b"], Limits(jobs=1, threads=1, end_s=0.0)).run()
    assert skipped == {"f": "the time was over", "b": "the time was over"}
