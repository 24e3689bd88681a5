"""The latency table, the readers of layers, and the command that prints what they give."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.latency_model.fitting import shapes_of
from benchmarks.latency_model.networks import Builder, Network
from benchmarks.latency_model.write_onnx import write_onnx
from benchmarks.latency_model.write_tflite import write_tflite
from drupelet_host.cli.describe import describe_package, print_package
from drupelet_host.cli.estimate import estimate as estimate_command
from drupelet_host.errors import ModelError
from drupelet_host.estimation.model_files import estimate_file, read_layers
from drupelet_host.latency.modelled.estimate import estimate_all
from drupelet_host.latency.modelled.layers import ENGINES, PRECISIONS, LayerShape
from drupelet_host.latency.modelled.table import LatencyTable, load_table
from drupelet_shared.errors import InvalidValueError
from drupelet_shared.package.reading import unpack_package
from support.package.served_packages import make_package

TARGET = "raspberry_pi_4"
_LARGEST_BYTES = 500_000


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    found = load_table(TARGET)
    assert found is not None
    return found


def _network(width: int = 32) -> Network:
    builder = Builder((3, 64, 64))
    builder.conv(width, 3, 2)
    first = builder.conv(2 * width, activation="relu6")
    builder.depthwise(3, 1)
    builder.conv(2 * width, activation="none")
    builder.merge("add", first, builder.last)
    builder.conv(2 * width, 3, 2, activation="silu")
    builder.pool("max_pool", 3, 2)
    builder.pool("global_pool")
    builder.linear(100)
    return builder.network()


def _convolution(channels: int, *, pixels: int = 784, window: int = 9) -> LayerShape:
    return LayerShape(
        kind="convolution",
        in_channels=channels,
        out_channels=channels,
        in_pixels=pixels,
        out_pixels=pixels,
        window=window,
    )


def test_the_table_covers_every_engine_and_precision_and_stays_small(table: LatencyTable) -> None:
    assert set(table.formulas) == {(engine, precision) for engine in ENGINES for precision in PRECISIONS}
    assert set(table.versions) == set(ENGINES)
    size = len(files("drupelet_host.latency.modelled").joinpath(f"{TARGET}.json").read_bytes())
    assert size < _LARGEST_BYTES


def test_a_target_without_a_table_has_none() -> None:
    assert load_table("raspberry_pi_9") is None


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_four_times_the_work_takes_between_two_and_seven_times_as_long(
    table: LatencyTable, engine: str, precision: str
) -> None:
    for channels in (32, 64, 128):
        narrow, wide = (
            table.layer_ms(_convolution(count, pixels=400), engine, precision)  # type: ignore[arg-type]
            for count in (channels, 2 * channels)
        )
        assert 2 < wide / narrow < 7


def test_a_convolution_takes_at_least_what_its_multiplications_take(table: LatencyTable) -> None:
    # A Cortex-A72 issues one 4-wide FMLA a cycle: 7.2 G multiply-accumulates a second, 2.25 times as many with
    # Winograd's method.
    shape = _convolution(128, window=25)
    for engine in ENGINES:
        assert table.layer_ms(shape, engine, "float32") > shape.macs / 7.2e9 * 1000


def test_int8_is_faster_than_float_for_a_wide_pointwise_layer_in_litert(table: LatencyTable) -> None:
    shape = _convolution(128, window=1)
    assert table.layer_ms(shape, "litert", "int8") < table.layer_ms(shape, "litert", "float32")


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_a_file_has_the_layers_of_its_network(tmp_path: Path, suffix: str, *, int8: bool) -> None:
    path = tmp_path / f"network{suffix}"
    network = _network()
    (write_onnx if suffix == ".onnx" else write_tflite)(network, path, int8=int8)
    expected = shapes_of(network)
    layers = [layer for layer in read_layers(path) if layer.macs]
    assert [layer.macs for layer in layers] == [layer.macs for layer in expected if layer.macs]
    assert [layer.category for layer in layers] == [layer.category for layer in expected if layer.macs]


def test_a_gated_activation_is_one_layer_in_onnx(tmp_path: Path) -> None:
    for int8 in (False, True):
        path = tmp_path / f"{int8}.onnx"
        write_onnx(_network(), path, int8=int8)
        kinds = [layer.kind for layer in read_layers(path)]
        assert kinds.count("silu") == 1
        assert "sigmoid" not in kinds
        assert "multiply" not in kinds


def test_a_sum_after_a_convolution_is_told_from_others(tmp_path: Path) -> None:
    write_onnx(_network(), tmp_path / "model.onnx", int8=False)
    assert [layer.category for layer in read_layers(tmp_path / "model.onnx")].count("add_to_convolution") == 1


def test_half_the_channels_are_estimated_cheaper_everywhere(table: LatencyTable) -> None:
    whole, half = (estimate_all(shapes_of(_network(width)), table) for width in (32, 16))
    for one, two in zip(whole, half, strict=True):
        assert two.ms < one.ms


def test_an_estimate_states_its_range_and_source(table: LatencyTable) -> None:
    for one in estimate_all(shapes_of(_network()), table):
        assert one.low_ms < one.ms < one.high_ms
        assert one.high_ms == pytest.approx(one.ms * (1 + one.error))
        assert one.error >= table.accuracies[one.engine, one.precision].model_error
        assert re.fullmatch(r"modelled for raspberry_pi_4, one thread, \+-\d+%", one.source)


def test_the_command_says_that_nothing_was_measured(tmp_path: Path) -> None:
    write_onnx(_network(), tmp_path / "model.onnx", int8=False)
    result = CliRunner().invoke(estimate_command, [str(tmp_path / "model.onnx")], catch_exceptions=False)
    assert result.exit_code == 0
    assert "modelled for raspberry_pi_4, one thread, not measured" in result.stdout


def test_the_commands_json_has_every_layer_of_the_engines_asked_for(tmp_path: Path) -> None:
    write_onnx(_network(), tmp_path / "model.onnx", int8=False)
    arguments = [str(tmp_path / "model.onnx"), "--engine", "litert", "--json"]
    result = CliRunner().invoke(estimate_command, arguments, catch_exceptions=False)
    document = json.loads(result.stdout)
    assert {one["engine"] for one in document["estimates"]} == {"litert"}
    assert {one["precision"] for one in document["estimates"]} == set(PRECISIONS)
    assert len(document["estimates"][0]["layers"]) == len(shapes_of(_network()))
    assert all("modelled" in one["source"] for one in document["estimates"])


def test_a_package_is_estimated_variant_by_variant_and_inspect_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = make_package(tmp_path, None)
    (one,) = estimate_file(package, target=TARGET, engines=ENGINES)
    assert (one.engine, one.precision) == ("onnxruntime", "float32")
    with_files = unpack_package(package, tmp_path / "unpacked", trusted_keys=None)
    view = describe_package(with_files)
    (modelled,) = view.to_json()["modelled"].values()
    assert modelled["source"] == one.source
    print_package(view)
    assert "modelled, one thread; not measured" in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_estimated_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="target 'toaster' has no latency table"):
        estimate_file(tmp_path / "model.onnx", target="toaster", engines=ENGINES)
    other = tmp_path / "model.h5"
    other.write_bytes(b"")
    with pytest.raises(ModelError, match=r"model.h5: expected a file that ends in \.onnx"):
        estimate_file(other, target=TARGET, engines=ENGINES)
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"model\.onnx: not an ONNX model"):
        estimate_file(broken, target=TARGET, engines=ENGINES)
    with pytest.raises(InvalidValueError, match="no variant for ncnn can be estimated"):
        estimate_file(make_package(tmp_path, None), target=TARGET, engines=("ncnn",))


def test_an_exact_estimate_needs_a_prepared_emulator(tmp_path: Path) -> None:
    write_onnx(_network(), tmp_path / "model.onnx", int8=False)
    with pytest.raises(InvalidValueError, match="not prepared: run deploy/emulator/prepare"):
        estimate_file(tmp_path / "model.onnx", target=TARGET, engines=ENGINES, emulator=tmp_path)
