from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from drupelet_host.errors import DataError, ExportError
from drupelet_host.onnx_files.optimisation import optimise
from drupelet_host.quantization.dynamic import quantize_dynamic
from drupelet_host.quantization.float16 import store_float16
from drupelet_host.quantization.observation import run_samples
from support.model import onnx_networks
from support.model.onnx_networks import Arrays, draw_images, draw_sentences, draw_signals, signature


def largest_error(path: Path, source: Path, samples: Sequence[Arrays]) -> float:
    """Of any output, as a fraction of its largest value."""
    return max(
        float(np.abs(found[name] - values).max() / np.abs(values).max())
        for found, expected in zip(
            run_samples(path, samples, optimisation=ort.GraphOptimizationLevel.ORT_ENABLE_ALL),
            run_samples(source, samples),
            strict=True,
        )
        for name, values in expected.items()
    )


def find_types(path: Path) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
def test_recurrent_weights_become_dynamic_int8(tmp_path: Path, op_type: str) -> None:
    source = onnx_networks.write_recurrent(tmp_path / "model.onnx", op_type=op_type)
    path = tmp_path / "int8.onnx"
    quantize_dynamic(source, path)
    types = find_types(path)
    assert types["w_quantized"] == types["r_quantized"] == TensorProto.INT8
    assert 0 < largest_error(path, source, draw_signals(5)) < 0.1
    assert path.stat().st_size < 0.6 * source.stat().st_size


def test_attention_becomes_dynamic_int8_at_any_length(tmp_path: Path) -> None:
    source = onnx_networks.write_attention(tmp_path / "model.onnx")
    quantize_dynamic(source, tmp_path / "int8.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node]
    assert operators.count("MatMulInteger") == 4
    assert 0 < largest_error(tmp_path / "int8.onnx", source, draw_sentences(6)) < 0.1


def test_convolutions_stay_float_in_dynamic_int8_unless_asked_for(tmp_path: Path) -> None:
    source = onnx_networks.write_convolutional(tmp_path / "model.onnx")
    operators = {}
    for asked in (False, True):
        path = tmp_path / f"{asked}.onnx"
        quantize_dynamic(source, path, convolutions=asked)
        operators[asked] = [node.op_type for node in onnx.load(path).graph.node]
        assert 0 < largest_error(path, source, draw_images(4)) < 0.1
    assert operators[False].count("Conv") == 3
    assert "Conv" not in operators[True]
    assert operators[True].count("ConvInteger") == 3


def test_dynamic_int8_without_anything_to_quantize_is_refused(tmp_path: Path) -> None:
    source = onnx_networks.write_upsampling(tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="nothing to quantize: found Conv, ConvTranspose"):
        quantize_dynamic(source, tmp_path / "int8.onnx")


def test_float16_weights_halve_the_file_and_barely_change_the_answers(tmp_path: Path) -> None:
    source = onnx_networks.write_recurrent(tmp_path / "model.onnx", op_type="LSTM")
    path = tmp_path / "float16.onnx"
    store_float16(source, path)
    assert path.stat().st_size < 0.6 * source.stat().st_size
    assert 0 < largest_error(path, source, draw_signals(5)) < 1e-2


def test_the_engine_folds_the_casts_of_float16_weights_as_it_loads(tmp_path: Path) -> None:
    source = onnx_networks.write_convolutional(tmp_path / "model.onnx")
    store_float16(source, tmp_path / "float16.onnx")
    assert "Cast" in {node.op_type for node in onnx.load(tmp_path / "float16.onnx").graph.node}
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    ort.InferenceSession(str(tmp_path / "float16.onnx"), options, providers=["CPUExecutionProvider"])
    loaded = onnx.load(tmp_path / "loaded.onnx").graph
    assert "Cast" not in {node.op_type for node in loaded.node}
    assert {tensor.data_type for tensor in loaded.initializer} & {TensorProto.FLOAT16} == set()


@pytest.mark.parametrize("spread", [1e6, 1e-9])
def test_weights_that_float16_cannot_hold_stay_float32(tmp_path: Path, spread: float) -> None:
    source = onnx_networks.write_convolutional(tmp_path / "model.onnx")
    model = onnx.load(source)
    scaled = onnx.numpy_helper.to_array(model.graph.initializer[0]) * np.float32(spread)
    name = model.graph.initializer[0].name
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(scaled.astype(np.float32), name))
    source.write_bytes(model.SerializeToString())
    store_float16(source, tmp_path / "float16.onnx")
    types = find_types(tmp_path / "float16.onnx")
    assert types[name] == TensorProto.FLOAT
    assert types["w3_float16"] == TensorProto.FLOAT16


def test_a_model_without_weights_has_nothing_to_store_as_float16(tmp_path: Path) -> None:
    source = onnx_networks.write_upsampling(tmp_path / "model.onnx")
    model = onnx.load(source)
    keep = [tensor for tensor in model.graph.initializer if tensor.name == "b2"]
    assert len(keep) == 1
    for tensor in model.graph.initializer:
        if tensor.name != "b2":
            tensor.data_type = TensorProto.FLOAT16
            tensor.raw_data = tensor.raw_data[::2]
    source.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match="float16 has nothing to store"):
        store_float16(source, tmp_path / "float16.onnx")


@pytest.mark.parametrize("write", [quantize_dynamic, store_float16])
def test_the_same_file_gives_the_same_bytes(tmp_path: Path, write: Callable[[Path, Path], None]) -> None:
    source = onnx_networks.write_recurrent(tmp_path / "model.onnx", op_type="GRU")
    for name in ("a.onnx", "b.onnx"):
        write(source, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_an_outdated_file_is_folded_fused_and_converted(tmp_path: Path) -> None:
    source = onnx_networks.write_outdated(tmp_path / "model.onnx")
    path = tmp_path / "optimised.onnx"
    assert optimise(source, path, samples=draw_images(3)).difference < 1e-4
    before, after = onnx.load(source), onnx.load(path)
    assert [node.op_type for node in after.graph.node] == [
        *("Conv", "Relu", "Conv", "Relu", "Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm")
    ]
    assert [(opset.domain, opset.version) for opset in after.opset_import] == [("", 13)]
    assert signature(after.graph.input) == signature(before.graph.input)[:1]
    assert signature(after.graph.output) == signature(before.graph.output)
    assert {entry.key: entry.value for entry in after.metadata_props} == {"labels": "a,b,c,d,e"}
    assert largest_error(path, source, draw_images(3, seed=1)) < 1e-4


def test_several_inputs_and_outputs_survive_optimisation(tmp_path: Path) -> None:
    source = onnx_networks.write_attention(tmp_path / "model.onnx")
    optimise(source, tmp_path / "optimised.onnx", samples=draw_sentences(4))
    before, after = onnx.load(source).graph, onnx.load(tmp_path / "optimised.onnx").graph
    assert signature(after.input) == signature(before.input)
    assert signature(after.output) == signature(before.output)


def test_optimising_needs_a_sample_that_fits(tmp_path: Path) -> None:
    source = onnx_networks.write_convolutional(tmp_path / "model.onnx")
    with pytest.raises(DataError, match="0 samples"):
        optimise(source, tmp_path / "optimised.onnx", samples=[])
    with pytest.raises(DataError, match="sample 0 does not run"):
        optimise(source, tmp_path / "optimised.onnx", samples=[{"image": np.zeros((1, 9), np.float32)}])


def test_an_operator_the_engine_does_not_know_is_named(tmp_path: Path) -> None:
    source = onnx_networks.write_convolutional(tmp_path / "model.onnx")
    model = onnx.load(source)
    model.graph.node[2].op_type = "Rectify"
    source.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=r"model\.onnx: .*Rectify"):
        optimise(source, tmp_path / "optimised.onnx", samples=draw_images(1))
