"""Models that come as ONNX files or torch.export programs, with no PyTorch source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from drupelet import compile_recipe
from drupelet_host.compiler.start import start_compile
from drupelet_host.errors import DataError, ModelError, RecipeError
from drupelet_host.evaluation.scoring import answer_session
from drupelet_host.onnx_files.external_data import join_external_data
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.errors import DrupeletError
from drupelet_shared.tensors import Datatype
from fakes.observer import RecordingObserver
from support.model.architectures import ARCHITECTURES
from support.model.compiled import Compiled, compile_and_verify
from support.model.file_project import file_recipe, two_inputs_recipe, write_files
from support.model.onnx_networks import write_outdated

FIXED: dict[str, Any] = {"method": "minmax", "variants": ["static", "float16"]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def compiled(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """With everything that the compiler chooses by itself."""
    return compile_and_verify(file_recipe(files), tmp_path_factory.mktemp("out") / "unpacked")


@pytest.fixture(scope="module")
def two_inputs(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    wanted = two_inputs_recipe(files, quantize={"method": "minmax"}, output={"folder": "two"})
    return compile_and_verify(wanted, tmp_path_factory.mktemp("out") / "unpacked")


def test_a_file_is_optimised_quantized_and_measured(compiled: Compiled) -> None:
    assert compiled.observer.finished == [
        "evaluate",
        "optimise_onnx",
        "store_float16",
        "quantize_dynamic",
        "quantize_static",
        "mix_precision",
        "evaluate_variants",
        "constraints",
        "package",
    ]
    assert "ort-static-wi8-ai8" in compiled.state.measurements
    for name, measured in compiled.state.measurements.items():
        assert measured.metric >= 0.9, name
        assert measured.timing.p50_ms > 0
    assert compiled.state.cost is not None
    assert compiled.state.cost.parameters == sum(
        int(np.prod(tensor.dims))
        for tensor in onnx.load(compiled.state.originals["onnxruntime"]).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    )


def test_what_cannot_be_pruned_is_said(compiled: Compiled) -> None:
    assert "nothing is pruned: model.onnx is a graph without the layers of a PyTorch module" in (
        compiled.observer.decisions
    )


def test_without_labels_a_classifier_is_compared_with_the_original(compiled: Compiled) -> None:
    assert compiled.state.metric.name == "agreement"
    assert compiled.state.reference.metric == 1.0
    assert {name for variant in compiled.manifest.variants for name in variant.metrics} == {"agreement"}


def test_variable_dimensions_stay_variable(compiled: Compiled) -> None:
    (spec,) = compiled.manifest.inputs
    assert (spec.name, spec.datatype, spec.shape) == ("image", Datatype.FP32, (1, 3, -1, -1))
    for variant in compiled.manifest.variants:
        session = load_engine(variant.engine).load(compiled.package.folder / variant.path, threads=1)
        for size in ((8, 8), (9, 31)):
            assert session.run({"image": np.zeros((1, 3, *size), np.float32)}, ["scores"])["scores"].shape == (1, 5)


def test_several_inputs_and_outputs_keep_names_types_and_shapes(two_inputs: Compiled) -> None:
    assert [(spec.name, spec.datatype, spec.shape) for spec in two_inputs.manifest.inputs] == [
        ("signal", Datatype.FP32, (1, -1, 8)),
        ("sensor", Datatype.INT64, (1,)),
    ]
    assert [(spec.name, spec.shape) for spec in two_inputs.manifest.outputs] == [
        ("steps", (1, -1, 16)),
        ("scores", (1, 5)),
    ]
    assert two_inputs.manifest.postprocessing is None
    assert two_inputs.manifest.task == "monitoring"


def test_several_outputs_are_compared_by_fidelity(two_inputs: Compiled) -> None:
    found = {name: measured.metric for name, measured in two_inputs.state.measurements.items()}
    assert two_inputs.state.metric.name == "fidelity"
    assert found["ort-fp32"] == pytest.approx(1.0, abs=1e-5)
    assert 0.99 < found["ort-wf16"] < 1.0
    assert 0.9 < found["ort-static-wi8-ai8"] < found["ort-wf16"]


def test_the_report_names_the_metric_and_the_variants(two_inputs: Compiled) -> None:
    report = json.loads((two_inputs.package.folder / "report.json").read_text(encoding="utf-8"))
    text = json.dumps(report)
    assert "fidelity" in text
    assert all(variant.id in text for variant in two_inputs.manifest.variants)


def test_labels_are_used_where_there_are_some(files: Path, tmp_path: Path) -> None:
    compiled = compile_and_verify(
        file_recipe(
            files,
            model={"labels": list("abcde")},
            data={"train": "data.py:one_size", "validation": "data.py:one_size"},
            quantize=FIXED,
            output={"folder": str(tmp_path / "out")},
        ),
        tmp_path / "unpacked",
    )
    images, labels = one_size()
    session = load_engine("onnxruntime").load(files / "model.onnx", threads=1)
    answers = answer_session(session, [{"image": image[None]} for image in images])
    hits = sum(answer["scores"].argmax() == label for answer, label in zip(answers, labels, strict=True))
    assert compiled.state.metric.name == "top1"
    assert compiled.state.reference.metric == hits / 24
    assert (compiled.package.folder / "labels.txt").read_text(encoding="utf-8") == "a\nb\nc\nd\ne\n"
    assert compiled.manifest.postprocessing is not None
    assert compiled.manifest.postprocessing.output == "scores"


def test_a_function_of_ones_own_measures(files: Path, tmp_path: Path) -> None:
    wanted = two_inputs_recipe(
        files,
        evaluation={"metric": "data.py:mean_score"},
        quantize={"variants": ["float16"]},
        output={"folder": str(tmp_path / "out")},
    )
    compiled = compile_and_verify(wanted, tmp_path / "unpacked")
    session = load_engine("onnxruntime").load(files / "two.onnx", threads=1)
    answers = answer_session(session, start_compile(wanted, tmp_path).samples.feeds)
    mean = float(np.mean([answer["scores"].max() for answer in answers]))
    assert compiled.state.reference.metric == pytest.approx(mean, rel=1e-6)
    assert all("mean_score" in variant.metrics for variant in compiled.manifest.variants)


def test_an_old_file_compiles_and_keeps_its_signature(files: Path, tmp_path: Path) -> None:
    write_outdated(files / "outdated.onnx")
    wanted = file_recipe(
        files, model={"file": "outdated.onnx"}, quantize=FIXED, output={"folder": str(tmp_path / "out")}
    )
    compiled = compile_and_verify(wanted, tmp_path / "unpacked")
    assert [spec.name for spec in compiled.manifest.inputs] == ["image"]
    assert "ort-static-wi8-ai8" in compiled.state.measurements


def test_weights_beside_the_file_count_as_its_own(files: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.onnx"
    onnx.save(
        onnx.load(files / "model.onnx"), split, save_as_external_data=True, location="split.data", size_threshold=0
    )
    (tmp_path / "joined").mkdir()
    joined = join_external_data(split, tmp_path / "joined")
    assert joined.stat().st_size > split.stat().st_size + (tmp_path / "split.data").stat().st_size / 2
    split.with_suffix(".data").unlink()
    assert load_engine("onnxruntime").load(joined, threads=1).inputs[0].name == "image"
    with pytest.raises(ModelError, match=r"split\.onnx: not a complete ONNX model"):
        join_external_data(split, tmp_path)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_a_program_compiles_with_its_own_dimensions(tmp_path: Path, dynamic: bool) -> None:  # noqa: FBT001 - pytest's
    files = write_files(tmp_path / "files")
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 3, padding=1),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 5),
    ).eval()
    sizes = {2: torch.export.Dim("height", min=4, max=64), 3: torch.export.Dim("width", min=4, max=64)}
    program = torch.export.export(model, (torch.zeros(1, 3, 8, 8),), dynamic_shapes=(sizes if dynamic else None,))
    torch.export.save(program, files / "program.pt2")
    data = {"train": "data.py:train_program", "validation": "data.py:validation_program"}
    source = (files / "data.py").read_text(encoding="utf-8")
    pick = "draw_images" if dynamic else "one_size"
    source += f"""

def train_program():
    samples = draw_images(12, seed=1) if {dynamic} else [{{"image": x[None]}} for x in one_size()[0]]
    return [{{"input": np.float32(sample["image"])}} for sample in samples]


validation_program = train_program  # {pick}
"""
    (files / "data.py").write_text(source, encoding="utf-8")
    wanted = file_recipe(files, model={"file": "program.pt2"}, data=data, quantize=FIXED)
    compiled = compile_and_verify(wanted, tmp_path / "unpacked")
    (spec,) = compiled.manifest.inputs
    assert spec.shape == ((1, 3, -1, -1) if dynamic else (1, 3, 8, 8))
    assert compiled.manifest.outputs[0].shape == (1, 5)
    session = load_engine("onnxruntime").load(compiled.package.folder / compiled.manifest.variants[0].path, threads=1)
    image = np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)
    with torch.inference_mode():
        expected = model(torch.from_numpy(image)).numpy()
    found = session.run({spec.name: image}, [compiled.manifest.outputs[0].name])
    assert np.abs(found[compiled.manifest.outputs[0].name] - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"data": {"train": "data.py:wrong_name"}},
            r"train data data\.py:wrong_name: sample 0: has \['picture'\]: the model takes \['image'\]",
        ),
        (
            {"data": {"validation": "data.py:wrong_channels"}},
            r"sample 0: input 'image' has shape \[1, 2, 8, 8\]: the model takes \[1, 3, -1, -1\]",
        ),
        ({"data": {"validation": "data.py:one_infinite"}}, r"sample 5: input 'image' holds NaN or infinity"),
        ({"data": {"train": "data.py:nothing"}}, "has no samples: expected at least 1"),
        ({"data": {"train": "data.py:a_number"}}, "image: got one value"),
        ({"data": {"train": "data.py:a_generator"}}, "image: got one value"),
        ({"data": {"validation": "data.py:too_high"}}, "labels go from 5 to 5: the model has 5 classes, 0 to 4"),
        ({"data": {"validation": "data.py:too_few"}}, r"labels have shape \(7,\): expected \(24, \.\.\.\)"),
        ({"evaluation": {"metric": "top1"}}, r"has no labels: evaluation\.metric = 'top1' compares with them"),
        ({"evaluation": {"metric": "data.py:absent"}}, r"data\.py:absent: there is no such callable"),
        (
            {"image": {"width": 8, "height": 8, "color": "gray"}},
            r"image gives \[1, 1, 8, 8\]: the model takes \[1, 3, -1, -1\] as 'image'",
        ),
        ({"model": {"labels": ["a", "b"]}}, r"model\.labels has 2 entries: the model gives 5 scores"),
    ],
)
def test_what_does_not_fit_the_file_is_refused_before_the_work_starts(
    files: Path, sections: dict[str, Any], message: str
) -> None:
    observer = RecordingObserver()
    with pytest.raises((DataError, ModelError), match=message):
        compile_recipe(file_recipe(files, **sections), observer=observer)
    assert observer.passes == []


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"train": "data.py:as_one_array"}}, "is one array: the model takes signal, sensor"),
        (
            {"data": {"train": "data.py:fractional_sensor"}},
            "sample 0: input 'sensor' holds float64 numbers: the model takes INT64",
        ),
        (
            {"image": {"width": 8, "height": 8, "color": "rgb", "input": "picture"}},
            "image.input = 'picture': the model takes signal, sensor",
        ),
        ({"model": {"task": "classification"}}, r"the task 'classification' needs one of shape \[1, classes\]"),
        (
            {"evaluation": {"metric": "agreement"}},
            r"model gives 2 outputs \(steps, scores\): .* 'agreement' looks at one",
        ),
    ],
)
def test_what_does_not_fit_several_tensors_is_refused_before_the_work_starts(
    files: Path, sections: dict[str, Any], message: str
) -> None:
    observer = RecordingObserver()
    with pytest.raises((DataError, ModelError), match=message):
        compile_recipe(two_inputs_recipe(files, **sections), observer=observer)
    assert observer.passes == []


def test_a_metric_that_fails_says_how(files: Path) -> None:
    wanted = two_inputs_recipe(files, evaluation={"metric": "data.py:broken_metric"})
    with pytest.raises(DataError, match=r"metric broken_metric: calling it failed: KeyError: 'boxes'"):
        compile_recipe(wanted)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"export": {"engines": ["litert"]}}, "a file is compiled for onnxruntime and ncnn; use a factory"),
        ({"model": {"file": "data.py"}}, r"expected a \.onnx, \.pt2 or \.tflite file"),
        ({"model": {"factory": "data.py:train"}}, "either a factory"),
        ({"model": {"outputs": ["a"]}}, "outputs: only a factory needs them"),
    ],
)
def test_a_recipe_that_asks_too_much_of_a_file_is_faulty(files: Path, sections: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        file_recipe(files, **sections)


@pytest.mark.parametrize("name", ["noise.onnx", "noise.pt2", "empty.onnx"])
def test_a_file_that_is_no_model_is_refused(files: Path, name: str) -> None:
    (files / name).write_bytes(b"" if name.startswith("empty") else b"\x07no model at all" * 9)
    with pytest.raises(DrupeletError, match=name.replace(".", r"\.")):
        compile_recipe(file_recipe(files, model={"file": name}))


def test_a_program_keeps_the_names_in_a_dictionary_of_outputs(tmp_path: Path) -> None:
    architecture = ARCHITECTURES["detector-named"]
    program = torch.export.export(architecture.build(), (torch.zeros(architecture.input_shape),))
    files = write_files(tmp_path / "files")
    torch.export.save(program, files / "detector.pt2")
    shape = architecture.input_shape
    np.savez(files / "images.npz", x=np.random.default_rng(0).standard_normal((12, *shape[1:]), np.float32))
    wanted = file_recipe(
        files,
        model={"file": "detector.pt2", "task": "detection"},
        data={"train": "images.npz", "validation": "images.npz"},
        quantize=FIXED,
    )
    compiled = compile_and_verify(wanted, tmp_path / "unpacked")
    assert [spec.name for spec in compiled.manifest.outputs] == ["boxes", "scores", "image"]


def one_size() -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(3).standard_normal((24, 3, 8, 8)).astype(np.float32)
    return images, np.arange(24) % 5
