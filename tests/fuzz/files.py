"""Files from outside that are not JSON: images, golden vectors, public keys."""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from PIL import Image

from drupelet_shared.errors import ImageError, KeyFileError, PackageError
from drupelet_shared.inference.images import image_to_tensor
from drupelet_shared.package.golden import GoldenVectors, load_golden
from drupelet_shared.package.manifest import ImagePreprocessing
from drupelet_shared.package.signature import identify_key
from drupelet_shared.package.trust import load_public_key
from drupelet_shared.tensors import Datatype
from fuzz.target import Target
from support.model.tensors import same_tensors

_PREPROCESSING = (
    ImagePreprocessing(input="x", color="rgb", height=8, width=8, resize="crop"),
    ImagePreprocessing(input="x", color="gray", height=5, width=9, resize="letterbox", layout="NHWC"),
)


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="drupelet-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def check_image(data: bytes) -> bool:
    """Bytes become a tensor of the promised shape with finite values, or an `ImageError`."""
    taken = False
    for preprocessing in _PREPROCESSING:
        try:
            tensor = image_to_tensor(data, preprocessing, Datatype.FP32)
        except ImageError:
            continue
        assert tensor.size == preprocessing.height * preprocessing.width * preprocessing.channels
        assert np.isfinite(tensor).all()
        taken = True
    return taken


def check_golden(data: bytes) -> bool:
    """Golden vectors come back when written again, or are refused."""
    path = _folder() / "golden.npz"
    path.write_bytes(data)
    try:
        golden = load_golden(path)
    except PackageError:
        return False
    path.write_bytes(golden.to_bytes())
    again = load_golden(path)
    assert golden.samples == again.samples
    assert same_tensors(_sorted(golden.inputs), _sorted(again.inputs))
    assert same_tensors(_sorted(golden.outputs), _sorted(again.outputs))
    return True


def check_key(data: bytes) -> bool:
    """A key file holds a P-256 key, which comes back when written again, or is refused."""
    path = _folder() / "key.pub"
    path.write_bytes(data)
    try:
        known = load_public_key(path)
    except KeyFileError:
        return False
    assert identify_key(known.key).id == known.id
    return True


def _sorted(arrays: object) -> dict[str, np.ndarray]:
    assert isinstance(arrays, dict)
    return dict(sorted(arrays.items()))


def _images() -> tuple[bytes, ...]:
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    found = []
    for mode, file_format in (
        ("RGB", "PNG"),
        ("RGB", "JPEG"),
        ("P", "PNG"),
        ("LA", "PNG"),
        ("CMYK", "JPEG"),
        ("1", "PNG"),
    ):
        buffer = io.BytesIO()
        Image.fromarray(noise).convert(mode).save(buffer, file_format, exif=exif)
        found.append(buffer.getvalue())
    deep = io.BytesIO()
    Image.fromarray(noise[:, :, 0].astype(np.uint16) * 257).save(deep, "PNG")
    return (*found, deep.getvalue())


def _golden() -> bytes:
    inputs = {"image": np.arange(8, dtype=np.float32).reshape(2, 1, 4)}
    outputs = {"scores": np.ones((2, 3), np.float16), "flags": np.array([[True], [False]])}
    return GoldenVectors(inputs=inputs, outputs=outputs).to_bytes()


def _keys() -> tuple[bytes, ...]:
    keys = (
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        rsa.generate_private_key(65537, 2048).public_key(),
    )
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return tuple(key.public_bytes(serialization.Encoding.PEM, form) for key in keys)


IMAGE = Target(name="image", seeds=_images(), check=check_image)
GOLDEN = Target(name="golden", seeds=(_golden(),), check=check_golden)
KEY = Target(name="key", seeds=_keys(), check=check_key)
