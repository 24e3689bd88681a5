"""Converts a JPEG or PNG to a model's input tensor, by the manifest's pre-processing."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from drupelet_shared.engines.base import Array
from drupelet_shared.errors import ImageError
from drupelet_shared.package.manifest import ImagePreprocessing
from drupelet_shared.postprocessing.geometry import ImageGeometry, fit_geometry
from drupelet_shared.tensors import Datatype

# 40 megapixels decode to 120 MB; a Raspberry Pi camera takes 12.
MAX_PIXELS = 40_000_000
_FORMATS = ("PNG", "JPEG")
# The JPEG decoder shrinks by 2, 4 or 8 almost for free; the last factor of two is left to the better filter.
_DRAFT_MARGIN = 2
_FILTER = Image.Resampling.BILINEAR
# EXIF orientations 5 to 8 lie on their side: width and height are exchanged.
_SIDEWAYS = range(5, 9)
_FLOATS = {Datatype.FP16: np.float16, Datatype.FP32: np.float32}


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image as a model's input.

    Attributes:
        tensor: With a batch dimension of one: [1, channels, height, width], or channels last.
        geometry: How the upright image was fitted into it.
    """

    tensor: Array
    geometry: ImageGeometry


def image_to_tensor(payload: bytes | memoryview, preprocessing: ImagePreprocessing, datatype: Datatype) -> Array:
    """Return the tensor of `prepare_image` alone.

    Args:
        payload: The file's bytes.
        preprocessing: Size, colour order, layout and normalisation.
        datatype: FP32, FP16 or UINT8.

    Raises:
        ImageError: See `prepare_image`.
    """
    return prepare_image(payload, preprocessing, datatype).tensor


def prepare_image(payload: bytes | memoryview, preprocessing: ImagePreprocessing, datatype: Datatype) -> PreparedImage:
    """Decode, turn upright, resize and normalise one image.

    Args:
        payload: The file's bytes.
        preprocessing: Size, colour order, layout and normalisation; mean and std follow the tensor's colour order.
        datatype: FP32 and FP16 get `(pixel / 255 - mean) / std`, UINT8 gets the pixels.

    Returns:
        The tensor, and how the image was fitted into it.

    Raises:
        ImageError: The payload is no JPEG or PNG, is damaged or too large, or the datatype cannot hold an image.
    """
    try:
        with Image.open(io.BytesIO(payload), formats=_FORMATS) as image:
            _check_size(image)
            geometry = fit_geometry(
                image=_upright_size(image),
                tensor=(preprocessing.width, preprocessing.height),
                resize=preprocessing.resize,
            )
            pixels = np.asarray(_prepare(image, preprocessing))
    except (ImageError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"image of {len(payload)} bytes is neither a PNG nor a JPEG") from error
    except Exception as error:  # Pillow's plugins raise whatever a broken file leads to: OSError, SyntaxError, ...
        raise ImageError(f"image of {len(payload)} bytes cannot be decoded: {error}") from error
    return PreparedImage(_to_tensor(pixels, preprocessing, datatype), geometry)


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"image has {width} x {height} = {width * height} pixels: the limit is {MAX_PIXELS}")


def _is_sideways(image: Image.Image) -> bool:
    return image.getexif().get(ExifTags.Base.Orientation, 1) in _SIDEWAYS


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _is_sideways(image) else (width, height)


def _prepare(image: Image.Image, preprocessing: ImagePreprocessing) -> Image.Image:
    """Return an upright 8-bit image of the required size, gray or RGB."""
    mode = "L" if preprocessing.color == "gray" else "RGB"
    size = (preprocessing.width, preprocessing.height)
    width, height = reversed(size) if _is_sideways(image) else size
    image.draft(mode, (width * _DRAFT_MARGIN, height * _DRAFT_MARGIN))
    # These functions copy the whole image even where nothing changes, so they run in place or not at all.
    ImageOps.exif_transpose(image, in_place=True)
    upright = to_8_bits(image)
    if upright.mode != mode:
        upright = upright.convert(mode)
    if preprocessing.resize == "crop":
        return ImageOps.fit(upright, size, _FILTER)
    if preprocessing.resize == "letterbox":
        return ImageOps.pad(upright, size, _FILTER, color=0)
    return upright.resize(size, _FILTER)


def to_8_bits(image: Image.Image) -> Image.Image:
    """Return a gray image of 16 bits with its upper 8, others as they are; Pillow's own conversion would cut at 255."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _to_tensor(pixels: Array, preprocessing: ImagePreprocessing, datatype: Datatype) -> Array:
    values = pixels.reshape(preprocessing.height, preprocessing.width, preprocessing.channels)
    if preprocessing.color == "bgr":
        values = values[:, :, ::-1]
    per_channel = (1, 1, -1)
    if preprocessing.layout == "NCHW":
        values = values.transpose(2, 0, 1)
        per_channel = (-1, 1, 1)
    if datatype is Datatype.UINT8:
        return np.ascontiguousarray(values)[np.newaxis]
    if datatype not in _FLOATS:
        raise ImageError(f"input {preprocessing.input!r} takes {datatype}: an image becomes UINT8, FP16 or FP32")
    mean = np.array(preprocessing.mean).reshape(per_channel)
    std = np.array(preprocessing.std).reshape(per_channel)
    # One multiplication and one subtraction a pixel: pixel / (255 std) - mean / std.
    tensor = np.empty(values.shape, dtype=np.float32)
    np.multiply(values, (1 / (255 * std)).astype(np.float32), out=tensor)
    tensor -= (mean / std).astype(np.float32)
    return tensor.astype(_FLOATS[datatype], copy=False)[np.newaxis]
