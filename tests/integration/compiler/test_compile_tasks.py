"""Detectors and segmentation models, from the recipe to the answer for an image."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drupelet_agent.worker.handler import RequestHandler
from drupelet_host.compiler.start import start_compile
from drupelet_host.errors import DataError, ModelError, RecipeError
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.inference import InferenceReply, decode_reply
from drupelet_shared.package.manifest import LABELS_PATH
from drupelet_shared.package.reading import UnpackedPackage
from drupelet_shared.postprocessing.answer import Answerer
from drupelet_shared.postprocessing.specs import Detection, Segmentation
from support.model.compiled import Compiled, compile_and_verify
from support.model.task_project import LABELS, SIZE, draw, task_recipe, write_detector, write_segmentation


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("detector")
    write_detector(folder / "model.onnx", merged=False)
    detection = {"form": "boxes-scores", "transposed": True, "box_format": "cxcywh"}
    recipe = task_recipe(folder, task="detection", labels="boxes", detection=detection)
    return compile_and_verify(recipe, folder / "unpacked")


@pytest.fixture(scope="module")
def segmentation(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("segmentation")
    write_segmentation(folder / "model.onnx")
    recipe = task_recipe(folder, task="segmentation", labels="masks", segmentation={})
    return compile_and_verify(recipe, folder / "unpacked")


def answer(package: UnpackedPackage, picture: np.ndarray) -> InferenceReply:
    """Send a picture of twice the model's size to the best variant, as a worker does."""
    manifest, variant = package.manifest, package.manifest.variants[0]
    assert manifest.postprocessing is not None
    labels = (package.folder / LABELS_PATH).read_text().splitlines()
    handler = RequestHandler(
        model_name=manifest.name,
        model_version=manifest.version,
        manifest=manifest,
        session=load_engine(variant.engine).load(package.folder / variant.path, threads=1),
        answerer=Answerer(manifest.postprocessing, labels=labels),
    )
    pixels = np.round(picture * 255).astype(np.uint8).transpose(1, 2, 0).repeat(2, axis=0).repeat(2, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    body = handler.handle(memoryview(buffer.getvalue()), content_type="image/png", header_length=None).encoded
    return decode_reply(memoryview(body.payload), content_type=body.content_type, header_length=body.header_length)


def test_a_detector_is_judged_by_its_mean_average_precision(detector: Compiled) -> None:
    assert detector.state.metric.name == "map50_95"
    assert all(variant.metrics["map50_95"] >= 0.99 for variant in detector.manifest.variants)


def test_the_manifest_says_what_a_detectors_outputs_hold(detector: Compiled) -> None:
    assert detector.manifest.postprocessing == Detection(
        form="boxes-scores", outputs=("boxes", "scores"), transposed=True, box_format="cxcywh"
    )


def test_a_picture_is_answered_with_its_objects_in_its_own_pixels(detector: Compiled) -> None:
    pictures, objects, _ = draw(8, seed=3)
    for picture, truth in zip(pictures, objects, strict=True):
        reply = answer(detector.package, picture)
        expected = sorted(zip((truth["boxes"] * 2).tolist(), truth["labels"].tolist(), strict=True))
        found = zip(reply.outputs["boxes"].round().tolist(), reply.outputs["indices"].tolist(), strict=True)
        assert sorted(found) == expected
        assert reply.outputs["labels"].tolist() == [LABELS[index].encode() for index in reply.outputs["indices"]]


def test_the_form_of_one_output_is_found_from_its_shape(tmp_path: Path) -> None:
    write_detector(tmp_path / "model.onnx", merged=True)
    compiled = compile_and_verify(
        task_recipe(tmp_path, task="detection", labels="boxes", detection={}), tmp_path / "unpacked"
    )
    assert compiled.manifest.postprocessing == Detection(form="yolov8", outputs=("detections",))
    # Boxes up to 32 and scores up to 1 in one tensor: no variant that was packed has lost its scores.
    assert all(variant.metrics["map50_95"] >= 0.99 for variant in compiled.manifest.variants)


def test_a_segmentation_model_is_judged_by_its_mean_iou(segmentation: Compiled) -> None:
    assert segmentation.state.metric.name == "mean_iou"
    assert segmentation.manifest.postprocessing == Segmentation(output="map")


def test_a_picture_is_answered_with_a_class_map_of_its_size(segmentation: Compiled) -> None:
    pictures, _, masks = draw(1, seed=3)
    reply = answer(segmentation.package, pictures[0])
    classes = reply.outputs["classes"]
    assert classes.shape == (2 * SIZE, 2 * SIZE)
    assert (classes == masks[0].repeat(2, axis=0).repeat(2, axis=1)).mean() > 0.99


def test_without_labels_the_metric_is_the_fidelity(tmp_path: Path) -> None:
    write_detector(tmp_path / "model.onnx", merged=True)
    pictures = draw(4, seed=1)[0]
    for name in ("train", "validation"):
        np.savez(tmp_path / f"{name}.npz", inputs=pictures)
    data = {"train": "train.npz", "validation": "validation.npz"}
    unlabelled = task_recipe(tmp_path, task="detection", labels="boxes", detection={}, data=data)
    assert start_compile(unlabelled, tmp_path).metric.name == "fidelity"


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        ({"detection": {}}, ModelError, r"Set detection\.form"),
        ({"detection": {"form": "yolov8"}}, ModelError, "has 2 outputs"),
        ({"detection": {"form": "yolov8", "outputs": ["nose"]}}, ModelError, "detection.outputs names 'nose'"),
        ({"detection": {"form": "ssd"}}, ModelError, "needs priors"),
        ({"evaluation": {"metric": "map50"}}, ModelError, "the recipe has no \\[detection\\] section"),
        (
            {"detection": {"form": "boxes-scores", "transposed": True}, "evaluation": {"metric": "mean_iou"}},
            ModelError,
            "the recipe has no \\[segmentation\\] section",
        ),
        ({"detection": {"form": "boxes-scores"}}, ModelError, r"set detection\.transposed = true"),
        (
            {
                "detection": {"form": "boxes-scores"},
                "data": {"train": "data.py:masks_train", "validation": "data.py:masks_validation"},
            },
            DataError,
            "a detector takes a dictionary with boxes",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_before_any_work(
    tmp_path: Path, sections: dict[str, Any], error: type[Exception], message: str
) -> None:
    write_detector(tmp_path / "model.onnx", merged=False)
    with pytest.raises(error, match=message):
        start_compile(task_recipe(tmp_path, task="detection", labels="boxes", **sections), tmp_path)


@pytest.mark.parametrize(
    ("task", "sections", "message"),
    [
        ("classification", {"detection": {}}, r"\[detection\] is for model\.task = 'detection'"),
        ("detection", {"segmentation": {}}, r"\[segmentation\] is for model\.task = 'segmentation'"),
        ("detection", {"detection": {}, "image": None}, r"add \[image\]"),
    ],
)
def test_a_section_needs_its_task_and_an_image(
    tmp_path: Path, task: str, sections: dict[str, Any], message: str
) -> None:
    write_detector(tmp_path / "model.onnx", merged=False)
    with pytest.raises(RecipeError, match=message):
        task_recipe(tmp_path, task=task, labels="boxes", **sections)
