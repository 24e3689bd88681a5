"""The engines' aarch64 builds on a Cortex-A72 compute what the host's builds computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.instructions.counting import count
from benchmarks.instructions.emulator import EmulatedPi
from drupelet_shared.engines.base import Array
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.package.golden import record_golden
from emulated.int8_tflite import INPUT_SHAPE, write_int8_convolution
from emulated.models import make_images, write_ncnn_pair, write_onnx_pair
from support.model.tflite_models import write_linear_tflite
from support.package.served_packages import linear_weights

ANSWERS = Path(__file__).with_name("answers.py")
SAMPLES = 4
# Sums of float32 in another order; a wrong kernel is off by far more.
FLOAT_TOLERANCE = 1e-5
pytestmark = [pytest.mark.emulated, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def onnx_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_onnx_pair(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def ncnn_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_ncnn_pair(tmp_path_factory.mktemp("ncnn"))


def difference(pi: EmulatedPi, engine: str, model: Path, images: list[Array]) -> float:
    """Record on the host, check on the emulated Pi; as a fraction of the largest output."""
    session = load_engine(engine).load(model, threads=1)
    (name,) = (spec.name for spec in session.inputs)
    golden = model.with_suffix(".npz")
    golden.write_bytes(record_golden(session, [{name: image} for image in images]).to_bytes())
    return float(pi.run(ANSWERS, engine, model, golden))


def test_onnx_runtime_answers_float_models_within_rounding(pi: EmulatedPi, onnx_pair: tuple[Path, Path]) -> None:
    assert difference(pi, "onnxruntime", onnx_pair[0], make_images(SAMPLES)) <= FLOAT_TOLERANCE


def test_onnx_runtime_answers_static_int8_models_to_the_bit(pi: EmulatedPi, onnx_pair: tuple[Path, Path]) -> None:
    assert difference(pi, "onnxruntime", onnx_pair[1], make_images(SAMPLES)) == 0


def test_litert_answers_float_models_within_rounding(pi: EmulatedPi, tmp_path: Path) -> None:
    model = write_linear_tflite(tmp_path / "linear.tflite", linear_weights())
    generator = np.random.default_rng(1)
    images: list[Array] = [generator.random((1, 1, 8, 8), dtype=np.float32) for _ in range(SAMPLES)]
    assert difference(pi, "litert", model, images) <= FLOAT_TOLERANCE


def test_litert_answers_static_int8_models_to_the_bit(pi: EmulatedPi, tmp_path: Path) -> None:
    model = write_int8_convolution(tmp_path / "convolution.tflite")
    generator = np.random.default_rng(2)
    images: list[Array] = [generator.standard_normal(INPUT_SHAPE).astype(np.float32) for _ in range(SAMPLES)]
    assert difference(pi, "litert", model, images) == 0


def test_ncnn_answers_float_models_within_rounding(pi: EmulatedPi, ncnn_pair: tuple[Path, Path]) -> None:
    assert difference(pi, "ncnn", ncnn_pair[0], make_images(SAMPLES)) <= FLOAT_TOLERANCE


def test_ncnn_answers_static_int8_models_to_the_bit(pi: EmulatedPi, ncnn_pair: tuple[Path, Path]) -> None:
    assert difference(pi, "ncnn", ncnn_pair[1], make_images(SAMPLES)) == 0


def test_the_comparison_tells_another_model_apart(pi: EmulatedPi, onnx_pair: tuple[Path, Path]) -> None:
    """Float and int8 differ by quantization alone, and even that is seen."""
    float_model, int8_model = onnx_pair
    difference(pi, "onnxruntime", float_model, make_images(SAMPLES))
    assert float(pi.run(ANSWERS, "onnxruntime", int8_model, float_model.with_suffix(".npz"))) > FLOAT_TOLERANCE


def test_no_int8_dot_product_runs_on_a_cortex_a72(pi: EmulatedPi, onnx_pair: tuple[Path, Path], tmp_path: Path) -> None:
    litert_model = write_int8_convolution(tmp_path / "convolution.tflite")
    for engine, model in (("onnxruntime", onnx_pair[1]), ("litert", litert_model)):
        assert count(model, engine, pi=pi).dot_products == 0
        # The counter knows them where there are some: this processor has them, and both engines look for them.
        assert count(model, engine, pi=pi, cpu="cortex-a76").dot_products > 0


def test_ncnn_runs_int8_without_dot_products_on_a_cortex_a72(pi: EmulatedPi, ncnn_pair: tuple[Path, Path]) -> None:
    assert count(ncnn_pair[1], "ncnn", pi=pi).dot_products == 0
