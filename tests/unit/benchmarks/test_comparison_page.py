from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.comparison.page import PAGE, RESULTS, render_page

MACHINE = {
    "date": "2026-01-02T03:04:05+00:00",
    "cpu": "a processor",
    "architecture": "x86_64",
    "cores": 2,
    "load_average_at_start": 0.1,
    "kernel": "6.1",
    "python": "3.11.7",
    "packages": {"numpy": "2.0"},
}
VERSIONS = {"onnxruntime": "1.0", "ncnn": "2.0"}
NETWORKS = {"resnet18": {"parameters": 1}}


def times_report(*, load: float = 0.1) -> dict[str, Any]:
    rows = [
        {
            "network": "resnet18",
            "runtime": runtime,
            "precision": "float32",
            "threads": threads,
            "p50_ms": 40.0 / threads,
            "p99_ms": 50.0 / threads,
            "inferences": 100,
            "fastest_round_ms": 39.0 / threads,
            "slowest_round_ms": 41.0 / threads,
            "of_first": 0.5,
            "of_first_low": 0.4,
            "of_first_high": 0.6,
            "difference": 1e-6,
        }
        for runtime in VERSIONS
        for threads in (1, 2)
    ]
    worker = {
        "network": "resnet18",
        "runtime": "ncnn",
        "precision": "static int8",
        "threads": 2,
        "size_bytes": 11_700_000,
        "load_ms": 20.4,
        "fastest_load_ms": 18.0,
        "slowest_load_ms": 30.0,
        "resident_bytes": 60_000_000,
        "anonymous_bytes": 40_000_000,
    }
    return {
        "workers": [worker],
        "machine": {**MACHINE, "load_average_at_start": load},
        "versions": VERSIONS,
        "networks": NETWORKS,
        "left_out": {"a runtime": "a reason"},
        "effort": {"rounds": 15, "seconds": 1.0},
        "times": rows,
    }


def instructions_report() -> dict[str, Any]:
    rows = [
        {"network": "resnet18", "runtime": "onnxruntime", "precision": "float32", "instructions": 600_000_000},
        {"network": "resnet18", "runtime": "ncnn", "precision": "float32", "instructions": 450_000_000},
    ]
    return {
        "machine": MACHINE,
        "versions": VERSIONS,
        "networks": NETWORKS,
        "left_out": {},
        "emulator": {"cpu": "cortex-a72", "qemu": "qemu 7"},
        "instructions": [{**row, "dot_products": 0} for row in rows],
    }


def modelled_report() -> dict[str, Any]:
    rows = [
        {"network": "resnet18", "runtime": "onnxruntime", "precision": "float32", "milliseconds": 616.4, "error": 0.35},
        {"network": "resnet18", "runtime": "ncnn", "precision": "float32", "milliseconds": 189.0, "error": 0.2},
    ]
    return {
        "machine": MACHINE,
        "versions": VERSIONS,
        "networks": NETWORKS,
        "emulator": {"cpu": "cortex-a72", "qemu": "qemu 7"},
        "modelled": rows,
    }


def compiler_report() -> dict[str, Any]:
    row = {
        "row": "c",
        "title": "ONNX Runtime static int8",
        "variant": "ort-static-wi8-ai8",
        "engine": "onnxruntime",
        "top1": 0.9234,
        "size_bytes": 11_300_000,
        "timings": {"1": {"p50_ms": 0.9}, "2": {"p50_ms": 0.6}},
        "peak_memory_bytes": 80_000_000,
        "wall_minutes": 1.2,
        "instructions": 12_300_000,
    }
    return {
        "machines": {"a workstation": MACHINE, "a trainer": {**MACHINE, "cpu": "another", "load_average_at_start": 9}},
        "measured_on": {"onnxruntime": "a workstation", "litert": "a workstation"},
        "made_on": {"a": "a trainer", "f": "a trainer, the end on a workstation", "g": "a trainer"},
        "measured": [row],
        "targets": [{"name": "f: smaller", "value": 0.99, "at_least": 0.98, "met": True}],
        "skipped": {"d": "nncf is not installed"},
    }


def agent_report() -> dict[str, Any]:
    peer = {
        "name": "MLServer",
        "size": "1 KB",
        "request_bytes": 2048,
        "over_engine_p50_ms": 3.2,
        "over_engine_p99_ms": 9,
        "of_echo_p50": 2.5,
    }
    footprint = {"name": "LitServe", "processes": 3, "resident_bytes": 400_000_000, "proportional_bytes": 300_000_000}
    return {
        "machine": MACHINE,
        "comparison": [peer],
        "footprints": [footprint],
        "targets": [{"name": "lost", "value": 6.0, "limit": 5.0, "unit": "%", "met": False}],
        "failures": {"soak": "OSError: no"},
    }


def render(folder: Path, **reports: dict[str, Any]) -> str:
    for name, report in reports.items():
        (folder / f"{name}.json").write_text(json.dumps(report), encoding="utf-8")
    return render_page(folder)


def test_the_page_is_what_the_results_render_to() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page()


def test_every_result_says_what_it_was_measured_on() -> None:
    for path in RESULTS.glob("*.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        # One machine for all, one for each part, or each section with its own.
        parts = {"": report} if "machine" in report else report
        machines = report.get("machines") or {name: part["machine"] for name, part in parts.items()}
        for machine in machines.values():
            assert {"date", "cpu", "cores", "kernel", "load_average_at_start", "packages"} <= machine.keys(), path.name


def test_a_stage_without_a_result_is_said_to_be_unmeasured(tmp_path: Path) -> None:
    assert render(tmp_path).count("Not measured yet on an idle machine") == 8


def test_one_and_two_threads_stand_side_by_side_with_the_spread_of_the_rounds(tmp_path: Path) -> None:
    text = render(tmp_path, engines=times_report())
    times = "40.0 ms (39.0 to 41.0) | 50.0 ms | 20.0 ms (19.5 to 20.5) | 25.0 ms"
    assert f"| ncnn | float32 | {times} | 0.50 (0.40 to 0.60) | 1e-06 |" in text
    assert "| ResNet18 | ncnn | static int8 | 11.7 MB | 20 ms (18 to 30) | 60.0 MB | 40.0 MB |" in text
    assert "Measured on 2026-01-02 on 2 cores of a processor (x86_64)" in text
    assert "- a runtime: a reason." in text


def test_times_of_a_busy_machine_are_said_to_be_no_result(tmp_path: Path) -> None:
    assert "The machine was busy" not in render(tmp_path, engines=times_report(load=1.0))
    assert "The machine was busy" in render(tmp_path, engines=times_report(load=1.1))


def test_instructions_are_compared_with_float_onnx_runtime(tmp_path: Path) -> None:
    text = render(tmp_path, instructions=instructions_report())
    assert "| ncnn | float32 | 450.0 | 75 % | 0 |" in text


def test_modelled_times_stand_with_their_error_and_are_no_measurements(tmp_path: Path) -> None:
    text = render(tmp_path, modelled=modelled_report())
    assert "| ONNX Runtime | float32 | 616 ms ± 35 % |" in text
    assert "| ncnn | float32 | 189 ms ± 20 % |" in text
    assert "**These are estimates by the timing model in `deploy/emulator/cortex_a72`, not measurements.**" in text


def test_published_times_stand_beside_modelled_ones_with_their_error(tmp_path: Path) -> None:
    report = {
        "machine": MACHINE,
        "scale": 1.085,
        "networks": [{"network": "alexnet", "published_ms": 139.42, "modelled_ms": 150.9, "error": 0.0825}],
        "int8_to_float32": {"resnet50": {"published": 0.794, "modelled": 0.803}},
        "mean_error": 0.0825,
        "worst_error": 0.0825,
        "rank_correlation": 0.99,
        "pairs": {"in_order": 3, "all": 4},
    }
    text = render(tmp_path, **{"latency-model": report})
    assert "| alexnet | 139.4 ms | 150.9 ms | +8.2% |" in text
    assert "| resnet50 | 0.79 | 0.80 |" in text
    assert "mean absolute error 8.2%" in text
    assert "3 of 4 pairs" in text


def test_what_the_search_by_latency_reached_stands_with_its_aims(tmp_path: Path) -> None:
    plan = {
        "network": "resnet18",
        "what": "trained",
        "engine": "litert",
        "precision": "int8",
        "original_ms": 7.0,
        "time_per_mac": {"q1": 0.55, "median": 0.67, "q3": 1.44},
        "reductions_at_equal_metric": {"0.8": 0.1, "0.7": 0.2, "0.6": 0.3},
        "median_reduction": 0.2,
    }
    time = {
        "row": "f",
        "engine": "litert",
        "precision": "int8",
        "ms": 0.6,
        "error": 0.25,
        "table_ms": 0.63,
        "top1": 0.929,
    }
    targets = {
        "lower_at_equal_metric": {"aim": "15%", "reached": {"resnet18": 0.2, "yolo": None}, "met": False},
        "times_faster": {"aim": 12.0, "reached": 13.5, "met": True},
    }
    results = {"plans-resnet18": plan, "recorded": {"times": [time]}}
    text = render(tmp_path, target={"machine": MACHINE, "targets": targets, "results": results})
    assert "| lower at equal metric | 15% | resnet18 20.0 %, yolo not comparable | **no** |" in text
    assert "| times faster | 12.0 | 13.5 | yes |" in text
    assert "| resnet18 | litert int8 | 7.00 ms | 0.55 to 1.44 | 20.0 % | 10.0 % to 30.0 % | trained |" in text
    assert "| (f) | litert | int8 | 0.60 ms ± 25 % | 0.63 ms | 92.90% |" in text


def test_the_compilers_files_stand_with_the_machine_that_measured_them(tmp_path: Path) -> None:
    text = render(tmp_path, compiler=compiler_report())
    cells = ("ort-static-wi8-ai8", "92.34%", "11,300 KB", "0.900 ms", "0.600 ms", "80 MB", "1 min", "12.3 M")
    assert f"| (c) ONNX Runtime static int8 | {' | '.join(cells)} |" in text
    assert text.count("ONNX Runtime and LiteRT: Measured on 2026-01-02 on 2 cores of a processor") == 1
    assert "Made: (a, g) on a trainer; (f) on a trainer, the end on a workstation." in text
    # A machine that trained may have been as busy as it liked.
    assert "another" not in text
    assert "The machine was busy" not in text
    assert "| f: smaller | 0.99 | at least 0.98 | yes |" in text
    assert "Left out: (d) nncf is not installed." in text


def test_the_agent_stands_beside_its_peers_with_the_aims_it_missed(tmp_path: Path) -> None:
    text = render(tmp_path, agent=agent_report())
    assert "| MLServer | 1 KB | 2,048 B | 3.20 ms | 9.00 ms | 2.50 |" in text
    assert "| LitServe | 3 | 400.0 MB | 300.0 MB |" in text
    assert "| lost | 6 % | at most 5 % | **no** |" in text
    assert "Failed: soak: OSError: no." in text


def test_others_times_stand_apart_with_their_source() -> None:
    text = render_page()
    _, _, rest = text.partition("## Published times on a Raspberry Pi 4")
    published, _, _ = rest.partition("## Features")
    rows = [line for line in published.splitlines() if line.endswith(" ms |")]
    assert rows
    assert all(line.startswith("| [") and "](https://" in line for line in rows)


def test_litert_networks_stand_with_the_factor_of_their_source(tmp_path: Path) -> None:
    network = {"network": "yolo5n-160", "published_ms": 22.65, "modelled_ms": 29.66, "error": -0.0349}
    source = {
        "factor": 0.737,
        "mean_error": 0.064,
        "worst_error": 0.2,
        "rank_correlation": 0.98,
        "pairs": {"in_order": 3, "all": 3},
        "networks": [network],
    }
    text = render(tmp_path, **{"latency-model-litert": {"machine": MACHINE, "sources": {"yolobench": source}}})
    assert "**yolobench**, 1 networks, times 0.737: mean absolute error 6.4%, worst 20.0%" in text
    assert "| yolo5n-160 | 22.6 ms | 29.7 ms | -3.5% |" in text


def test_recipes_with_a_board_stand_with_their_limits_and_what_serving_lost(tmp_path: Path) -> None:
    held = {"limit_ms": 0.5, "compiled_ms": 0.4, "installed_ms": 0.45, "held": True}
    failed = {"limit_ms": 0.1, "compiled_ms": None, "installed_ms": None, "held": False}
    loop = {
        "what": "an agent on this machine as the board",
        "original_ms": 0.6,
        "served_p99_ms": {"before": 20.0, "during": 25.0},
        "compile_minutes": {"boards": [0.5, 0.6], "workstation": [0.4]},
        "recipes": [held, failed],
    }
    text = render(tmp_path, target={"machine": MACHINE, "targets": {}, "results": {"loop": loop}})
    assert "another model's p99 20.0 ms before, 25.0 ms during" in text
    assert "0.50, 0.60 with the board, 0.40 with the workstation's times" in text
    assert "| 0.500 ms | 0.400 ms | 0.450 ms | yes |" in text
    assert "| 0.100 ms |  |  | **no** |" in text


def test_files_that_were_trained_stand_with_their_limit_and_their_engine(tmp_path: Path) -> None:
    trained = {
        "what": "files that were trained here",
        "setting": {"max_metric_drop": 0.004},
        "compiles": [{"row": "f", "max_latency": "1 ms", "passes": 102, "minutes": 40.2}],
        "files": [
            {"row": "f", "variant": "ncnn-static", "engine": "ncnn", "ms": 1.2, "error": 0.2, "top1": 0.93, "bytes": 9}
        ],
    }
    text = render(tmp_path, target={"machine": MACHINE, "targets": {}, "results": {"trained": trained}})
    assert (
        '`max_metric_drop = 0.004`; row (f) with `max_latency = "1 ms"`, 102 passes of recovery in 40 minutes.' in text
    )
    assert "| (f) | ncnn | ncnn-static | 1.20 ms ± 20 % | 93.00% | 9 |" in text
