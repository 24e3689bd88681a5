from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drupelet_shared.errors import ImageError
from drupelet_shared.inference.images import MAX_PIXELS, image_to_tensor
from drupelet_shared.package.manifest import ImagePreprocessing
from drupelet_shared.tensors import Datatype

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def encode(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:  # noqa: ANN401 - Pillow's options
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def preprocess(payload: bytes, datatype: Datatype = Datatype.UINT8, **settings: Any) -> np.ndarray:  # noqa: ANN401 - as the manifest
    chosen = {"input": "x", "color": "rgb", "height": 2, "width": 2, **settings}
    return image_to_tensor(payload, ImagePreprocessing(**chosen), datatype)


def halves(left: tuple[int, int, int], right: tuple[int, int, int], *, width: int = 8, height: int = 4) -> Image.Image:
    image = Image.new("RGB", (width, height), left)
    image.paste(right, (width // 2, 0, width, height))
    return image


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds no pixels."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def test_layout_and_colour_order_are_those_of_the_manifest() -> None:
    payload = encode(Image.new("RGB", (2, 2), (1, 2, 3)))
    assert preprocess(payload).shape == (1, 3, 2, 2)
    assert preprocess(payload)[0, :, 0, 0].tolist() == [1, 2, 3]
    assert preprocess(payload, color="bgr")[0, :, 0, 0].tolist() == [3, 2, 1]
    assert preprocess(payload, layout="NHWC", width=1).shape == (1, 2, 1, 3)
    assert preprocess(payload, color="gray").shape == (1, 1, 2, 2)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_floats_are_pixels_as_fractions_less_mean_by_std(layout: str) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    payload = encode(Image.new("RGB", (2, 2), (10, 20, 30)))
    tensor = preprocess(payload, Datatype.FP32, layout=layout, mean=mean, std=std)
    pixel = tensor[0, :, 0, 0] if layout == "NCHW" else tensor[0, 0, 0]
    expected = (np.array([10, 20, 30]) / 255 - mean) / std
    assert tensor.dtype == np.float32
    assert np.allclose(pixel, expected, atol=1e-6)


def test_half_floats_are_supported_and_other_datatypes_refused() -> None:
    payload = encode(Image.new("RGB", (2, 2), (255, 0, 0)))
    assert preprocess(payload, Datatype.FP16).dtype == np.float16
    with pytest.raises(ImageError, match="input 'x' takes INT8: an image becomes UINT8, FP16 or FP32"):
        preprocess(payload, Datatype.INT8)


def test_stretch_keeps_everything_crop_the_middle_and_letterbox_the_proportions() -> None:
    image = halves(RED, RED, width=12, height=4)
    image.paste(GREEN, (4, 0, 8, 4))
    payload = encode(image)
    crop = preprocess(payload, resize="crop", height=4, width=4)
    assert (crop[0, 1] == 255).all()
    stretched = preprocess(payload, resize="stretch", height=4, width=3)
    assert stretched[0, 0, 0, 0] > 150
    assert stretched[0, 1, 0, 1] > 150
    boxed = preprocess(payload, resize="letterbox", height=12, width=12)
    assert (boxed[0, :, :4] == 0).all()
    assert (boxed[0, :, 8:] == 0).all()
    assert boxed[0, 0, 6, 0] == 255


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_a_photograph_is_turned_upright(file_format: str) -> None:
    exif = Image.Exif()
    # 6: the camera was turned, and the image needs a quarter turn clockwise.
    exif[0x0112] = 6
    payload = encode(halves(RED, BLUE, width=64, height=32), file_format, exif=exif)
    tensor = preprocess(payload, height=8, width=4)
    assert tensor[0, 0, 0].min() > 150
    assert tensor[0, 2, 7].min() > 150


def test_a_large_jpeg_decodes_small_and_looks_the_same() -> None:
    gradient = np.linspace(0, 255, 1600, dtype=np.uint8)
    image = Image.fromarray(np.repeat(gradient[np.newaxis], 1200, axis=0)).convert("RGB")
    from_jpeg = preprocess(encode(image, "JPEG", quality=95), height=32, width=32).astype(int)
    from_png = preprocess(encode(image), height=32, width=32).astype(int)
    assert np.abs(from_jpeg - from_png).max() <= 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_colour_mode_is_converted(mode: str) -> None:
    image = Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode)
    payload = encode(image, "JPEG" if mode == "CMYK" else "PNG")
    assert (preprocess(payload) >= 250).all()


def test_gray_of_16_bits_keeps_its_upper_8() -> None:
    image = Image.fromarray(np.full((2, 2), 0x40FF, np.uint16))
    assert (preprocess(encode(image), color="gray") == 0x40).all()


def test_an_image_with_too_many_pixels_is_refused_by_its_header() -> None:
    with pytest.raises(ImageError, match=f"8000 x 5001 = 40008000 pixels: the limit is {MAX_PIXELS}"):
        preprocess(png_header(8000, 5001))


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_decompression_bomb_is_refused(side: int) -> None:
    with pytest.raises(ImageError, match=r"exceeds limit of 89478485 pixels|exceeds limit of 178956970 pixels"):
        preprocess(png_header(side, side))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_a_truncated_image_is_refused(file_format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    payload = encode(noise, file_format)
    with pytest.raises(ImageError, match=f"image of {len(payload) // 2} bytes cannot be decoded"):
        preprocess(payload[: len(payload) // 2])


@pytest.mark.parametrize("file_format", ["GIF", "BMP", "TIFF", "PPM"])
def test_other_formats_are_never_opened(file_format: str) -> None:
    with pytest.raises(ImageError, match="bytes is neither a PNG nor a JPEG"):
        preprocess(encode(Image.new("RGB", (2, 2)), file_format))
