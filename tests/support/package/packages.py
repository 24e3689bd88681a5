"""A small whole package, and archives around its files."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_host.packaging.builder import BuiltPackage, PackageDescription, build_package
from drupelet_shared.package.manifest import FileEntry, Manifest, Target
from drupelet_shared.tensors import Datatype, TensorSpec
from support.agent.values import make_variant

FILES: dict[str, bytes] = {
    "golden/ort-fp32.npz": b"not read by these tests",
    "labels.txt": b"zero\none\n",
    "variants/ort-fp32/model.onnx": bytes(range(256)) * 40,
    # Between "variants/..." as text and as a path: the signature's order is that of paths.
    "variants.txt": b"",
}


def describe(name: str = "digits", *, version: str = "1.0.0", release: int = 1) -> PackageDescription:
    return PackageDescription(
        name=name,
        version=version,
        release=release,
        created=datetime(2026, 1, 2, tzinfo=UTC),
        task="classification",
        inputs=(TensorSpec(name="image", datatype=Datatype.FP32, shape=(-1, 1, 8, 8)),),
        outputs=(TensorSpec(name="scores", datatype=Datatype.FP32, shape=(-1, 10)),),
        target=Target(device="raspberry-pi-4", architecture="aarch64"),
        variants=(make_variant(),),
    )


def build(output: Path, *, signing_key: ec.EllipticCurvePrivateKey | None = None) -> BuiltPackage:
    return build_package(output, describe(), FILES, signing_key=signing_key)


def make_manifest(files: dict[str, bytes]) -> Manifest:
    """Return a manifest that declares these files, whatever an archive holds."""
    entries = tuple(
        FileEntry(path=path, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        for path, content in files.items()
    )
    description = describe()
    return Manifest(
        name=description.name,
        version=description.version,
        release=description.release,
        created=description.created,
        task=description.task,
        inputs=description.inputs,
        outputs=description.outputs,
        target=description.target,
        variants=description.variants,
        files=entries,
    )


def write_key_pair(prefix: Path, *, curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """Return a key pair in `PREFIX.key` and `PREFIX.pub`, on any curve."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    prefix.with_suffix(".key").write_bytes(private)
    prefix.with_suffix(".pub").write_bytes(public)
    return key
