"""A box drawn into an image is found again where it was, whatever the resize, the orientation and the format."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from drupelet_shared.inference.images import prepare_image
from drupelet_shared.package.manifest import ImagePreprocessing
from drupelet_shared.tensors import Datatype

BOX = (700, 410, 1100, 690)
SIZE = (1602, 1003)
# How an upright image is stored for an EXIF orientation.
_STORED = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def photograph(*, orientation: int, image_format: str) -> bytes:
    image = Image.new("L", SIZE, 40)
    image.paste(220, BOX)
    stored = _STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    (image if stored is None else image.transpose(stored)).save(buffer, image_format, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize(("height", "width"), [(96, 96), (64, 160), (120, 75)])
@pytest.mark.parametrize(("orientation", "image_format"), [(1, "JPEG"), (6, "JPEG"), (8, "PNG"), (3, "PNG")])
def test_a_box_in_the_tensor_is_the_box_in_the_image(
    resize: str, height: int, width: int, orientation: int, image_format: str
) -> None:
    preprocessing = ImagePreprocessing.model_validate(
        {"input": "x", "color": "gray", "height": height, "width": width, "resize": resize}
    )
    payload = photograph(orientation=orientation, image_format=image_format)
    image = prepare_image(payload, preprocessing, Datatype.UINT8)
    rows, columns = np.nonzero(image.tensor[0, 0] > 130)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
    # Within a pixel of the tensor.
    pixel = max(SIZE[0] / width, SIZE[1] / height)
    np.testing.assert_allclose(image.geometry.boxes_to_image(box)[0], BOX, atol=pixel)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_every_pixel_of_the_image_is_in_the_tensor(resize: str) -> None:
    preprocessing = ImagePreprocessing.model_validate(
        {"input": "x", "color": "gray", "height": 30, "width": 50, "resize": resize}
    )
    geometry = prepare_image(photograph(orientation=1, image_format="PNG"), preprocessing, Datatype.UINT8).geometry
    for axis, size in ((geometry.x, SIZE[0]), (geometry.y, SIZE[1])):
        pixels = axis.source_pixels()
        assert len(pixels) == size
        assert pixels.min() >= 0
        assert (np.diff(pixels) >= 0).all()


def test_a_crop_leaves_out_the_ends_of_the_longer_side() -> None:
    preprocessing = ImagePreprocessing(input="x", color="gray", height=50, width=50, resize="crop")
    geometry = prepare_image(photograph(orientation=1, image_format="PNG"), preprocessing, Datatype.UINT8).geometry
    outside = int((geometry.x.source_pixels() < 0).sum())
    assert outside == pytest.approx(SIZE[0] - SIZE[1], abs=2)
    assert (geometry.y.source_pixels() >= 0).all()
