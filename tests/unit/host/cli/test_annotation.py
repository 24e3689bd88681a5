from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drupelet_host.cli.annotation import annotate
from drupelet_host.cli.tensors import print_reply
from drupelet_shared.contract.wire import PNG_TYPE
from drupelet_shared.inference import Encoded, InferenceReply


def draw(picture: Image.Image, boxes: list[list[float]], path: Path) -> np.ndarray:
    """Return the pixels of the annotated picture, (height, width, 3)."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    outputs = {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "labels": np.array(["cat"] * len(boxes), object),
        "scores": np.full(len(boxes), 0.5, np.float32),
        "indices": np.zeros(len(boxes), np.int64),
    }
    body = Encoded(payload=buffer.getvalue(), content_type=PNG_TYPE, header_length=None)
    annotate(body, InferenceReply(model_name="finder", model_version="1", id=None, outputs=outputs), path)
    return np.asarray(Image.open(path))


def test_a_box_that_fills_the_picture_shows_all_four_sides(tmp_path: Path) -> None:
    pixels = draw(Image.new("RGB", (200, 100)), [[0, 0, 200, 100]], tmp_path / "boxes.png")
    for side in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (side.max(axis=-1) > 0).all()
    assert pixels[60, 100].tolist() == [0, 0, 0]


def test_a_gray_picture_of_16_bits_keeps_its_shades(tmp_path: Path) -> None:
    shades = np.linspace(0, 65535, 100).astype(np.uint16)[None].repeat(50, axis=0)
    pixels = draw(Image.fromarray(shades), [], tmp_path / "boxes.png")
    np.testing.assert_array_equal(pixels, (shades >> 8).astype(np.uint8)[:, :, None].repeat(3, axis=2))


def test_an_answer_without_boxes_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = {
        "boxes": np.zeros((0, 4), np.float32),
        "labels": np.zeros(0, object),
        "scores": np.zeros(0, np.float32),
        "indices": np.zeros(0, np.int64),
    }
    print_reply(InferenceReply(model_name="finder", model_version="1", id=None, outputs=outputs), top=3)
    assert capsys.readouterr().out == "nothing found: no score reaches the threshold of the model\n"
