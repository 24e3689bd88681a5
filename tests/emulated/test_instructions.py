"""The counts of instructions repeat, and grow with the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.instructions.counting import count
from benchmarks.instructions.emulator import EmulatedPi
from support.model.onnx_models import write_row_model
from support.package.served_packages import slow_model

pytestmark = [pytest.mark.emulated, pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_count_of_an_inference_repeats_within_a_tenth_of_a_per_cent(pi: EmulatedPi, tmp_path: Path) -> None:
    model = write_row_model(tmp_path / "rows.onnx")
    first, second = (count(model, "onnxruntime", pi=pi).instructions for _ in range(2))
    assert second == pytest.approx(first, rel=0.001)


def test_twice_the_matrix_products_take_twice_the_instructions(pi: EmulatedPi, tmp_path: Path) -> None:
    counts = []
    for products in (1, 2, 3):
        path = tmp_path / f"{products}.onnx"
        path.write_bytes(slow_model(products=products, size=128))
        counts.append(count(path, "onnxruntime", pi=pi).instructions)
    # The first product comes with everything else that an inference does.
    assert counts[2] - counts[1] == pytest.approx(counts[1] - counts[0], rel=0.02)
    # Four multiplications and additions in one instruction at best.
    assert counts[1] - counts[0] > 128**3 / 4
