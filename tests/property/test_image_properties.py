"""Whatever bytes arrive as an image: a tensor of the promised shape, or an ImageError."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from drupelet_shared.errors import ImageError
from drupelet_shared.inference.images import image_to_tensor
from drupelet_shared.package.manifest import ImagePreprocessing
from drupelet_shared.tensors import Datatype


def sample(file_format: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(buffer, file_format, exif=exif)
    return buffer.getvalue()


SAMPLES = (sample("PNG"), sample("JPEG"))
PREPROCESSING = st.builds(
    ImagePreprocessing,
    input=st.just("x"),
    color=st.sampled_from(["gray", "rgb", "bgr"]),
    layout=st.sampled_from(["NCHW", "NHWC"]),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    resize=st.sampled_from(["stretch", "crop", "letterbox"]),
)


def check(payload: bytes, preprocessing: ImagePreprocessing) -> None:
    try:
        tensor = image_to_tensor(payload, preprocessing, Datatype.FP32)
    except ImageError:
        return
    plane = (preprocessing.height, preprocessing.width)
    channels = preprocessing.channels
    assert tensor.shape == ((1, channels, *plane) if preprocessing.layout == "NCHW" else (1, *plane, channels))
    assert 0 <= tensor.min() <= tensor.max() <= 1


@given(payload=st.sampled_from(SAMPLES), preprocessing=PREPROCESSING)
def test_a_good_image_fits_every_preprocessing(payload: bytes, preprocessing: ImagePreprocessing) -> None:
    assert image_to_tensor(payload, preprocessing, Datatype.UINT8).size == (
        preprocessing.height * preprocessing.width * preprocessing.channels
    )
    check(payload, preprocessing)


@given(magic=st.sampled_from([b"", *(payload[:30] for payload in SAMPLES)]), rest=st.binary(), settings=PREPROCESSING)
def test_arbitrary_bytes_are_refused_or_decoded(magic: bytes, rest: bytes, settings: ImagePreprocessing) -> None:
    check(magic + rest, settings)


@given(payload=st.sampled_from(SAMPLES), changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1))
def test_a_damaged_image_is_refused_or_decoded(payload: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(payload)
    for position, value in changes:
        damaged[position % len(damaged)] = value
    check(bytes(damaged), ImagePreprocessing(input="x", color="rgb", height=8, width=8))
