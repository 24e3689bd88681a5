"""The latency table as a source: what it says of files in each format and precision, and what it says nothing of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from drupelet_host.errors import LatencyError, ModelError
from drupelet_host.estimation.model_files import read_layers
from drupelet_host.latency.machine import WORKSTATION
from drupelet_host.latency.modelled.files import read_file_layers
from drupelet_host.latency.modelled.source import TableSource
from drupelet_host.latency.source import EstimateError, LatencyEstimate
from drupelet_host.latency.workstation import WorkstationSource
from drupelet_host.quantization.dynamic import quantize_dynamic
from drupelet_host.quantization.static import StaticSettings, calibrate, write_static
from drupelet_shared.timing import Interval
from support.model.latency_tables import make_table
from support.model.onnx_networks import draw_images, write_convolutional

_FLOAT_US = {"convolution": 3.0, "pointwise": 3.0, "depthwise": 3.0, "linear": 3.0}
_INT8_US = dict.fromkeys(_FLOAT_US, 1.0)
TABLE = make_table(_FLOAT_US, _INT8_US)
FEED = {"image": np.zeros((1, 3, 8, 8), np.float32)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    source = write_convolutional(folder / "float.onnx", spread=1.0)
    calibrated = calibrate(source, calibration=draw_images(8))
    written = {"float": source, **{name: folder / f"{name}.onnx" for name in ("static", "mixed", "dynamic")}}
    write_static(calibrated, written["static"], settings=StaticSettings())
    write_static(calibrated, written["mixed"], settings=StaticSettings(keep_float=frozenset({"c3"})))
    quantize_dynamic(source, written["dynamic"])
    return written


def measure(files: dict[str, Path], **changes: object) -> dict[str, LatencyEstimate]:
    found = TableSource(TABLE, **changes).measure(files, feed=FEED)  # type: ignore[arg-type]  # a test's keywords
    return {name: answer for name, answer in found.items() if isinstance(answer, LatencyEstimate)}


def test_each_layer_counts_in_the_precision_that_the_file_has_it_in(files: dict[str, Path]) -> None:
    stored = {
        name: {layer.name: layer.stored for layer in read_file_layers(path, feed=FEED) if layer.macs}
        for name, path in files.items()
    }
    assert set(stored["float"].values()) == {"float32"}
    assert set(stored["static"].values()) == {"int8"}
    assert sorted(stored["mixed"].values()).count("float32") == 1
    # Dynamic int8 is for matrix products; convolutions stay in float.
    assert sorted(stored["dynamic"].values()).count("int8") == 1
    found = measure(files)
    assert found["static"].p50_ms == pytest.approx(found["float"].p50_ms / 3)
    assert found["static"].p50_ms < found["mixed"].p50_ms < found["float"].p50_ms
    assert found["static"].p50_ms < found["dynamic"].p50_ms < found["float"].p50_ms


def test_a_conversion_costs_what_the_table_says_where_precisions_meet(files: dict[str, Path]) -> None:
    kinds = {name: [layer.kind for layer in read_file_layers(path, feed=FEED)] for name, path in files.items()}
    assert kinds["float"].count("conversion") == 0
    # The input of the whole model; and in the mixed one before and behind the layer in float too.
    assert kinds["mixed"].count("conversion") == kinds["static"].count("conversion") + 2


def test_an_estimate_has_a_range_and_never_says_measured(files: dict[str, Path]) -> None:
    for found in measure(files).values():
        error = np.hypot(0.1, 0.1)
        assert found.interval == Interval(
            pytest.approx(found.p50_ms * (1 - error)), pytest.approx(found.p50_ms * (1 + error))
        )
        assert found.source == "modelled for by_hand, one thread, +-14%"
        assert found.p99_ms is None
        with pytest.raises(LatencyError, match="has only medians"):
            found.range_ms("p99")


def test_the_error_that_two_estimates_share_cancels_in_their_ratio() -> None:
    def estimate(p50_ms: float, basis: str) -> LatencyEstimate:
        return LatencyEstimate(
            p50_ms=p50_ms, interval=Interval(0.0, 100.0), source="", error=EstimateError(basis, shared=0.4, own=0.03)
        )

    low, ratio, high = estimate(5.0, "ncnn int8").ratio_to(estimate(10.0, "ncnn int8"), "p50")
    assert (low, ratio, high) == pytest.approx((0.5 * (1 - 0.0424), 0.5, 0.5 * (1 + 0.0424)), rel=1e-3)
    low, _, high = estimate(5.0, "ncnn int8").ratio_to(estimate(10.0, "ncnn float32"), "p50")
    other = np.sqrt(2 * 0.4**2 + 2 * 0.03**2)
    assert (low, high) == pytest.approx((0.5 * (1 - other), 0.5 * (1 + other)))


def test_a_ratio_of_measured_times_has_the_range_of_both() -> None:
    fast = LatencyEstimate(p50_ms=5.0, interval=Interval(4.0, 6.0), source="")
    slow = LatencyEstimate(p50_ms=10.0, interval=Interval(8.0, 12.0), source="")
    assert fast.ratio_to(slow, "p50") == pytest.approx((4 / 12, 0.5, 6 / 8))


def write_recurrent(path: Path) -> Path:
    """Write a model whose only operator with weights is one that the table does not know."""
    tensors = [helper.make_tensor(f"w{axis}", TensorProto.FLOAT, [1, 8, 2], [0.1] * 16) for axis in range(2)]
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "w0", "w1"], ["y"], hidden_size=2)],
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 1, 1, 2])],
        tensors,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_layer_that_the_table_does_not_know_is_named_and_not_guessed(tmp_path: Path) -> None:
    path, feed = write_recurrent(tmp_path / "model.onnx"), {"x": np.zeros((3, 1, 2), np.float32)}
    with pytest.raises(ModelError, match=r"model\.onnx: what LSTM costs is not in the latency table"):
        read_layers(path)
    with pytest.raises(LatencyError, match=r"modelled for by_hand: no estimate: .* LSTM"):
        TableSource(TABLE).measure({"original": path}, feed=feed, references={"original"})
    told: list[str] = []
    source = TableSource(TABLE, fallback=WorkstationSource(), on_event=told.append)
    for _ in range(2):
        (answer,) = source.measure({"original": path}, feed=feed, references={"original"}).values()
        assert isinstance(answer, LatencyEstimate)
        assert answer.source == WORKSTATION
    (message,) = told
    assert message.endswith("times are measured on this machine instead")


def test_only_the_model_without_an_estimate_has_none(files: dict[str, Path], tmp_path: Path) -> None:
    models = {"original": files["float"], "odd": write_recurrent(tmp_path / "odd.onnx")}
    found = TableSource(TABLE, fallback=WorkstationSource()).measure(models, feed=FEED, references={"original"})
    assert isinstance(found["original"], LatencyEstimate)
    assert isinstance(found["odd"], LatencyError)


def test_another_version_of_the_table_has_another_fingerprint() -> None:
    assert TableSource(TABLE).fingerprint == "table by_hand 0123456789ab"
    assert TableSource(TABLE).fingerprint != TableSource(make_table({}, digest="fedcba9876543210")).fingerprint
