"""PyTorch modules and ONNX files in ncnn: the same numbers for every architecture, or the operator is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from drupelet_host.errors import ExportError
from drupelet_host.export.ncnn import convert_onnx, export_ncnn
from drupelet_host.export.onnx import export_onnx, quiet_exporter
from drupelet_host.ncnn_files.graph import parse_graph
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_shared.engines.registry import load_engine
from support.model.architectures import ARCHITECTURES

# What ncnn cannot do of it.
UNSUPPORTED = {"lstm-state": "LSTM"}
CONVERTED = sorted(ARCHITECTURES.keys() - UNSUPPORTED.keys())


class Square(nn.Module):
    """A convolution of an image of 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.convolution(image).square()


def output_names(outputs: object) -> list[str]:
    if isinstance(outputs, dict):
        return list(outputs)
    return [f"out_{position}" for position in range(len(outputs))] if isinstance(outputs, tuple | list) else ["output"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVERTED)
def test_an_architecture_computes_in_ncnn_what_it_computes_in_pytorch(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    architecture = ARCHITECTURES[name]
    model = architecture.build().eval()
    names = output_names(model(torch.zeros(architecture.input_shape)))
    path = tmp_path / "model.param"
    export_ncnn(model, architecture.input_shape, path, output_names=names)
    session = load_engine("ncnn").load(path, threads=1)
    assert [spec.name for spec in session.outputs] == names
    image = np.random.default_rng(1).standard_normal(architecture.input_shape).astype(np.float32)
    answers = session.run({"input": image}, names)
    with torch.inference_mode():
        expected = name_outputs(model(torch.from_numpy(image)), names=names)
    for output, tensor in expected.items():
        np.testing.assert_allclose(answers[output], tensor.numpy(), atol=1e-3 * float(tensor.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_what_ncnn_cannot_do_is_named(tmp_path: Path, name: str) -> None:
    architecture = ARCHITECTURES[name]
    with pytest.raises(ExportError, match=UNSUPPORTED[name]):
        export_ncnn(architecture.build(), architecture.input_shape, tmp_path / "model.param")


@pytest.mark.slow
def test_an_operator_that_ncnn_lacks_is_named(tmp_path: Path) -> None:
    class Spectrum(nn.Module):
        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            return torch.fft.rfft(signal).abs()

    with pytest.raises(ExportError, match="ncnn has no operator for"):
        export_ncnn(Spectrum(), (1, 16), tmp_path / "model.param")


def test_the_graph_has_the_shape_of_every_tensor(tmp_path: Path) -> None:
    """Width before height before channels, behind the number of dimensions."""
    torch.manual_seed(0)
    path = tmp_path / "model.param"
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 8, 5))
    export_ncnn(model, (1, 1, 8, 10), path)
    layers = parse_graph(path.read_text(encoding="utf-8")).layers
    shapes = {layer.kind: layer.parameters[-23330] for layer in layers}
    assert shapes["Input"] == "4,3,10,8,1"
    assert shapes["Convolution"] == "4,3,8,6,4"
    assert shapes["InnerProduct"] == "4,1,5,1,1"


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Square()
    for name in ("first", "second"):
        export_ncnn(model, (1, 1, 8, 8), tmp_path / f"{name}.param")
    for suffix in (".param", ".bin"):
        assert (tmp_path / f"first{suffix}").read_bytes() == (tmp_path / f"second{suffix}").read_bytes()


@pytest.mark.slow
def test_an_onnx_file_keeps_its_names_and_shapes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, path = tmp_path / "model.onnx", tmp_path / "model.param"
    export_onnx(Square(), (1, 1, 8, 8), source, output_names=["energy"])
    convert_onnx(source, path, sample={"input": np.ones((1, 1, 8, 8), np.float32)})
    session = load_engine("ncnn").load(path, threads=1)
    assert session.inputs == load_engine("onnxruntime").load(source, threads=1).inputs
    assert session.outputs == load_engine("onnxruntime").load(source, threads=1).outputs


@pytest.mark.slow
def test_an_onnx_file_with_a_variable_batch_takes_batches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, source, path = Square().eval(), tmp_path / "model.onnx", tmp_path / "model.param"
    images = torch.rand(3, 1, 8, 8)
    batch = torch.export.Dim("batch")
    with quiet_exporter():
        torch.onnx.export(
            model,
            (images,),
            str(source),
            input_names=["input"],
            dynamic_shapes=({0: batch},),
            dynamo=True,
            verbose=False,
        )
    convert_onnx(source, path, sample={"input": images[:1].numpy()})
    session = load_engine("ncnn").load(path, threads=1)
    assert session.inputs[0].shape == (-1, 1, 8, 8)
    (name,) = (spec.name for spec in session.outputs)
    answers = session.run({"input": images.numpy()}, [name])[name]
    np.testing.assert_allclose(answers, model(images).detach().numpy(), atol=1e-4)


class TwoEnds(nn.Module):
    """An image with its channels last and a row of numbers; to scores and to a grid of points."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.row, self.points = nn.Conv2d(3, 4, 3), nn.Linear(5, 4), nn.Conv2d(4, 2, 1)

    def forward(self, image: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.convolution(image.permute(0, 3, 1, 2)))
        scores = hidden.mean((2, 3)) + self.row(numbers)
        return scores, self.points(hidden).flatten(2).transpose(1, 2)


@pytest.mark.slow
def test_several_inputs_and_outputs_and_channels_last_keep_their_order_and_values(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, source, path = TwoEnds().eval(), tmp_path / "model.onnx", tmp_path / "model.param"
    image, numbers = torch.rand(1, 8, 6, 3), torch.rand(1, 5)
    names = ["scores", "points"]
    with quiet_exporter():
        torch.onnx.export(
            model,
            (image, numbers),
            str(source),
            input_names=["image", "numbers"],
            output_names=names,
            dynamo=True,
            verbose=False,
        )
    feed = {"image": image.numpy(), "numbers": numbers.numpy()}
    convert_onnx(source, path, sample=feed)
    session = load_engine("ncnn").load(path, threads=1)
    assert [(spec.name, spec.shape) for spec in session.inputs] == [("image", (1, 8, 6, 3)), ("numbers", (1, 5))]
    assert [(spec.name, spec.shape) for spec in session.outputs] == [("scores", (1, 4)), ("points", (1, 24, 2))]
    answers = session.run(feed, names)
    for name, tensor in zip(names, model(image, numbers), strict=True):
        np.testing.assert_allclose(answers[name], tensor.detach().numpy(), atol=1e-4)


@pytest.mark.slow
def test_an_onnx_file_of_integers_is_refused_by_name(tmp_path: Path) -> None:
    source = tmp_path / "model.onnx"
    tokens = torch.zeros(1, 3, dtype=torch.int64)
    with quiet_exporter():
        torch.onnx.export(nn.Embedding(10, 4).eval(), (tokens,), str(source), input_names=["tokens"], verbose=False)
    with pytest.raises(ExportError, match="tensor 'tokens' is INT64"):
        convert_onnx(source, tmp_path / "model.param", sample={"tokens": np.zeros((1, 3), np.int64)})
