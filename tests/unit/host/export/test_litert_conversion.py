from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from drupelet_host.data.samples import Tensors, split_dataset
from drupelet_host.errors import DataError, ExportError
from drupelet_host.evaluation.scoring import evaluate_session
from drupelet_host.export.litert import export_litert, quantize_litert, require_litert
from drupelet_host.latency.modelled.tflite_layers import read_tflite_layers
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_shared.engines.registry import load_engine
from support.model.tiny_project import INPUT_SHAPE, trained, validation_samples

INSTALLED = importlib.util.find_spec("litert_torch") is not None
needs_converter = pytest.mark.skipif(not INSTALLED, reason="litert-torch is not installed: make test-litert")


class Branching(nn.Module):
    """Decides by a value, which torch.export cannot follow."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs if inputs.sum() > 0 else -inputs


class Counting(nn.Module):
    """Computes something else on every call, which a graph cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return inputs * self.calls


def calibration(count: int) -> list[Tensors]:
    return list(split_dataset(trained().train).feeds[:count])


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.tflite"
    export_litert(trained().model, INPUT_SHAPE, path)
    return path


class Stem(nn.Module):
    """What most networks on images begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 7, stride=2, padding=3), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images).mean(dim=(2, 3))


@needs_converter
def test_a_first_convolution_is_computed_on_groups_of_pixels_in_int8_with_the_same_result(tmp_path: Path) -> None:
    model = Stem()
    feeds = [{"input": image} for image in np.random.default_rng(0).standard_normal((8, 1, 3, 32, 32), np.float32)]
    answers = []
    for for_xnnpack in (False, True):
        folder = tmp_path / str(for_xnnpack)
        folder.mkdir()
        export_litert(model, (1, 3, 32, 32), folder / "float.tflite", for_xnnpack=for_xnnpack)
        quantize_litert(folder / "float.tflite", folder / "int8.tflite", calibration=feeds, for_xnnpack=for_xnnpack)
        session = load_engine("litert").load(folder / "int8.tflite", threads=1)
        answers.append([session.run(feed, ["output"])["output"] for feed in feeds])
        shapes = {shape.window: shape.in_channels for shape in read_tflite_layers(folder / "int8.tflite")}
        assert (shapes.get(7 * 4) == 6) == for_xnnpack
    assert np.array_equal(*answers)


@needs_converter
def test_the_exported_litert_model_scores_what_pytorch_scores(float_model: Path) -> None:
    session = load_engine("litert").load(float_model, threads=1)
    assert evaluate_session(session, validation_samples()) == trained().evaluate(trained().model)
    assert [(spec.name, spec.shape) for spec in session.inputs] == [("input", INPUT_SHAPE)]
    assert [(spec.name, spec.shape) for spec in session.outputs] == [("output", (1, 4))]


@needs_converter
def test_the_same_model_converts_to_the_same_litert_bytes(float_model: Path, tmp_path: Path) -> None:
    export_litert(trained().model, INPUT_SHAPE, tmp_path / "again.tflite")
    assert (tmp_path / "again.tflite").read_bytes() == float_model.read_bytes()


@needs_converter
def test_the_litert_file_names_no_path_of_this_machine(float_model: Path) -> None:
    content = float_model.read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content
    assert str(float_model.parent).encode() not in content


@needs_converter
def test_the_quantized_litert_model_is_smaller_agrees_and_takes_floats(float_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "int8.tflite"
    quantize_litert(float_model, path, calibration=calibration(64))
    session = load_engine("litert").load(path, threads=1)
    assert evaluate_session(session, validation_samples()) >= trained().evaluate(trained().model) - 0.05
    assert path.stat().st_size < float_model.stat().st_size / 2
    assert session.inputs == load_engine("litert").load(float_model, threads=1).inputs


@needs_converter
def test_the_same_calibration_quantizes_to_the_same_litert_bytes(float_model: Path, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.tflite", "b.tflite")]
    for path in paths:
        quantize_litert(float_model, path, calibration=calibration(8))
    assert paths[0].read_bytes() == paths[1].read_bytes()


@needs_converter
def test_the_order_of_the_calibration_samples_does_not_matter(float_model: Path, tmp_path: Path) -> None:
    samples = calibration(8)
    quantize_litert(float_model, tmp_path / "a.tflite", calibration=samples)
    quantize_litert(float_model, tmp_path / "b.tflite", calibration=samples[::-1])
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()


@needs_converter
def test_a_litert_export_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="outputs differ from the original's by"):
        export_litert(Counting(), (1, 4), tmp_path / "model.tflite")


@needs_converter
def test_a_file_that_is_no_litert_model_cannot_be_quantized(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"not a model")
    with pytest.raises(ExportError, match=r"int8\.tflite: LiteRT's quantize ended with status 1: \S"):
        quantize_litert(tmp_path / "model.tflite", tmp_path / "int8.tflite", calibration=calibration(1))


def test_a_model_that_cannot_be_traced_is_not_converted(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"torch\.export cannot trace the model"):
        export_litert(Branching(), (1, 4), tmp_path / "model.tflite")


def test_litert_quantization_needs_calibration_samples(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 samples"):
        quantize_litert(tmp_path / "any", tmp_path / "int8.tflite", calibration=[])


@pytest.mark.skipif(INSTALLED, reason="litert-torch is installed")
def test_a_missing_converter_is_named_with_how_to_install_it() -> None:
    with pytest.raises(ExportError, match=r"litert_torch not installed: pip install 'drupelet\[host,litert-convert\]'"):
        require_litert()


class Two(nn.Module):
    """Takes a picture and numbers about it, whose names are not in alphabetical order, and answers in a nest."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.about, self.head = nn.Conv2d(1, 8, 3), nn.Linear(3, 8), nn.Linear(8, 4)

    def forward(self, picture: torch.Tensor, about: torch.Tensor) -> dict[str, object]:
        features = self.picture(picture).relu().mean((2, 3)) * self.about(about).sigmoid()
        return {"scores": self.head(features), "aux": (features, [about - features.mean(1, keepdim=True)])}


@needs_converter
def test_several_inputs_and_nested_outputs_convert_with_their_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Two().eval()
    samples = {"picture": torch.rand(16, 1, 8, 8), "about": torch.randn(16, 3)}
    names = ["scores", "aux.0", "aux.1.0"]
    path = tmp_path / "two.tflite"
    # The export compares the answers with PyTorch's.
    export_litert(model, samples, path, output_names=names)
    feeds = [{name: values[row : row + 1].numpy() for name, values in samples.items()} for row in range(16)]
    quantize_litert(path, tmp_path / "int8.tflite", calibration=feeds)
    for file, tolerance in ((path, 1e-5), (tmp_path / "int8.tflite", 0.05)):
        session = load_engine("litert").load(file, threads=1)
        assert {spec.name: spec.shape for spec in session.inputs} == {"picture": (1, 1, 8, 8), "about": (1, 3)}
        assert {spec.name for spec in session.outputs} == set(names)
        for row, feed in enumerate(feeds):
            answer = session.run(feed, names)
            with torch.inference_mode():
                expected = name_outputs(model(*(values[row : row + 1] for values in samples.values())))
            for name, values in expected.items():
                off = float((torch.from_numpy(answer[name]) - values).abs().max())
                assert off <= tolerance * max(1.0, float(values.abs().max())), (file.name, name)
